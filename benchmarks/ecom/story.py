"""What the tables of an output folder tell of a shop: who stood where when, sessions, funnel, paths, purchases.

Input: a connection to the views of OUT. Output: ``Story``. A session's **path** is its event names in order of (time,
name), a repeated name told once, up to its first purchase and at most ``STEPS`` long; a purchase that comes later than
the path is cut is told by the counts. Times: UTC, event time. Errors: ValueError when there is no session. State: none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

STEPS = 5
PATHS = 5
PURCHASE = "purchase"


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts of the whole log. ``converting`` sessions hold a purchase; ``tracker_sessions`` are the tracker's own."""

    users: int
    events: int
    first: date
    last: date
    purchases: int
    buyers: int
    sessions: int
    converting: int
    tracker_sessions: int
    events_per_session: float
    median_minutes: float
    bounced: float


@dataclass(frozen=True, slots=True)
class Path:
    """A path with its sessions, users, sessions with a purchase, and purchases in them."""

    steps: tuple[str, ...]
    sessions: int
    users: int
    converting: int
    purchases: int


@dataclass(frozen=True, slots=True)
class StageStep:
    """A stage: users who were ever in it, of them those who ever bought, stays, and median days of those that ended."""

    stage: str
    users: int
    bought: int
    stays: int
    moved_on: int
    fell_back: int
    median_days: float | None


@dataclass(frozen=True)
class Story:
    """``shares``: (day, users begun by then, users in each stage as the day ended, in the order of ``stages``)."""

    totals: Totals
    stages: tuple[str, ...]
    shares: tuple[tuple[date, int, tuple[int, ...]], ...]
    funnel: tuple[StageStep, ...]
    paths: tuple[Path, ...]
    """All of them, the commonest first."""

    @property
    def rate(self) -> float:
        """Buyers among users."""
        return self.totals.buyers / self.totals.users


def tell(connection: Any) -> Story:
    """Read the story."""
    stages = tuple(row[0] for row in connection.execute("SELECT stage FROM dim_stage ORDER BY place").fetchall())
    return Story(_totals(connection), stages, _shares(connection), _funnel(connection), _paths(connection))


def _totals(connection: Any) -> Totals:
    row = connection.execute(
        f"""
        SELECT
          (SELECT count(DISTINCT person_id) FROM events), (SELECT count(*) FROM events),
          (SELECT CAST(min(event_time) AS DATE) FROM events), (SELECT CAST(max(event_time) AS DATE) FROM events),
          (SELECT count(*) FROM events WHERE name = '{PURCHASE}'),
          (SELECT count(DISTINCT person_id) FROM events WHERE name = '{PURCHASE}'),
          (SELECT count(*) FROM sessions), (SELECT count(*) FROM sessions WHERE conversions > 0),
          (SELECT sum(tracker_sessions) FROM sessions), (SELECT avg(events) FROM sessions),
          (SELECT median(duration) / 60 FROM sessions), (SELECT avg(CAST(bounced AS INTEGER)) FROM sessions)
        """
    ).fetchone()
    if not row[6]:
        raise ValueError("there is no session to tell of")
    return Totals(*row)


def _shares(connection: Any) -> tuple[tuple[date, int, tuple[int, ...]], ...]:
    rows = connection.execute(
        "SELECT day, list(persons_at_end ORDER BY place) FROM funnel GROUP BY day ORDER BY day"
    ).fetchall()
    return tuple((day, sum(counts), tuple(counts)) for day, counts in rows)


def _funnel(connection: Any) -> tuple[StageStep, ...]:
    rows = connection.execute(
        f"""
        WITH buyers AS (SELECT DISTINCT person_id FROM events WHERE name = '{PURCHASE}')
        SELECT c.stage, count(DISTINCT h.person_id), count(DISTINCT b.person_id), any_value(c.stays),
          any_value(c.moved_on), any_value(c.fell_back),
          median(epoch(h.valid_to) - epoch(h.valid_from)) FILTER (WHERE h.valid_to IS NOT NULL) / 86400
        FROM stage_conversion c LEFT JOIN stage_history h USING (stage) LEFT JOIN buyers b ON b.person_id = h.person_id
        GROUP BY c.stage, c.place ORDER BY c.place
        """
    ).fetchall()
    return tuple(StageStep(*row) for row in rows)


def _paths(connection: Any) -> tuple[Path, ...]:
    # A step counts when it differs from the one before; what follows the first purchase is another story.
    rows = connection.execute(
        f"""
        WITH ordered AS (
          SELECT session_id, person_id, name, event_time,
            row_number() OVER w AS place, lag(name) OVER w AS before,
            sum(CASE WHEN name = '{PURCHASE}' THEN 1 ELSE 0 END) OVER w AS bought
          FROM events WHERE session_id IS NOT NULL
          WINDOW w AS (
            PARTITION BY session_id ORDER BY event_time, name ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
          )
        ), told AS (
          SELECT session_id, list(name ORDER BY place)[1:{STEPS}] AS steps FROM ordered
          WHERE before IS DISTINCT FROM name AND (bought = 0 OR (bought = 1 AND name = '{PURCHASE}'))
          GROUP BY session_id
        )
        SELECT steps, count(*), count(DISTINCT s.person_id), count(*) FILTER (s.conversions > 0), sum(s.conversions)
        FROM told JOIN sessions s USING (session_id) GROUP BY steps ORDER BY count(*) DESC, steps
        """
    ).fetchall()
    return tuple(Path(tuple(steps), sessions, users, hits, int(total)) for steps, sessions, users, hits, total in rows)
