"""What a stream is doing, read from its tables: the numbers of a terminal view, and their look.

No Beam. Input: an output folder that a stream writes. Output: ``Snapshot``, and a picture of it. Time domain: event
time, but for latency, which is the wall clock at which an action was stated less the event time of its decision: it
says how fast the pipeline is only where events happen as they are published. Errors: those of DuckDB while parts are
being written, as ``OutputError``. State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from contracts.errors import OutputError
from contracts.tables import Table
from reports.rendering import text
from transforms.tables.views import open_views

if TYPE_CHECKING:
    from rich.console import RenderableType

_FATES = ("accepted", "duplicate", "dead_lettered", "expired_late", "erased")
_CHOSEN = 5
_BAR = 30
_NEWEST = 200
"""Latest actions over which latency is told."""


@dataclass(frozen=True, slots=True)
class LiveDecision:
    """A decision as the view shows it."""

    at: Any
    person_id: str
    stage: str
    chosen: str
    reason: str
    status: str | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One look.

    ``fates`` counts of the ledger of the newest stream; ``received`` counted at the source. ``chosen``: the commonest
    decisions and how often. ``latency`` seconds at the 50th, 95th and 99th hundredth, None without actions.
    """

    run_id: str
    received: int
    fates: dict[str, int]
    stages: tuple[tuple[str, int], ...]
    chosen: tuple[tuple[str, int], ...]
    decisions: tuple[LiveDecision, ...]
    latency: tuple[float, float, float] | None

    @property
    def under_way(self) -> int:
        """Events handed out whose fate no stage has stated yet."""
        return self.received - sum(self.fates.values())


def look(out: Path, tables: Sequence[Table], stages: Sequence[str]) -> Snapshot:
    """Read the tables of OUT. Raises OutputError when they cannot be read just now."""
    try:
        connection = open_views(out, tables)
    except OSError as error:
        raise OutputError(f"{out} cannot be looked at: {error}") from error
    try:
        return _look(connection, stages)
    except (duckdb.Error, OSError) as error:
        raise OutputError(f"the tables of {out} cannot be read just now: {str(error).splitlines()[0]}") from error
    finally:
        connection.close()


def _look(connection: Any, stages: Sequence[str]) -> Snapshot:
    run_id = connection.execute("SELECT max(run_id) FROM run_ledger WHERE run_id LIKE 'stream-%'").fetchone()[0] or ""
    sums = ", ".join(f"coalesce(sum({name}), 0)::BIGINT" for name in ("received", *_FATES))
    received, *fates = connection.execute(f"SELECT {sums} FROM run_ledger WHERE run_id = ?", [run_id]).fetchone()
    counted = dict(connection.execute("SELECT stage, count(*) FROM journeys GROUP BY stage").fetchall())
    chosen = connection.execute(
        "SELECT chosen, count(*) AS times FROM decisions WHERE chosen <> 'nothing' GROUP BY chosen "
        f"ORDER BY times DESC, chosen LIMIT {_CHOSEN}"
    ).fetchall()
    decisions = connection.execute(
        'SELECT d."at", d.person_id, d.stage, d.chosen, d.reason, a.status FROM decisions d '
        "LEFT JOIN actions a USING (decision_id) WHERE d.chosen <> 'nothing' "
        'ORDER BY d.revision DESC, d."at" DESC LIMIT 6'
    ).fetchall()
    latency = connection.execute(
        "SELECT quantile_cont(seconds, [0.5, 0.95, 0.99]) FROM (SELECT "
        '(a.revision - epoch_us(d."at")) / 1e6 AS seconds FROM actions a JOIN decisions d USING (decision_id) '
        f"ORDER BY a.revision DESC LIMIT {_NEWEST})"
    ).fetchone()[0]
    return Snapshot(
        run_id,
        received,
        dict(zip(_FATES, fates, strict=True)),
        tuple((stage, counted.get(stage, 0)) for stage in (*stages, *sorted(counted.keys() - set(stages)))),
        tuple(chosen),
        tuple(LiveDecision(*row) for row in decisions),
        None if latency is None else (latency[0], latency[1], latency[2]),
    )


def picture(snapshot: Snapshot, rate: float, seconds: float) -> RenderableType:
    """The view of a terminal.

    Args:
        rate: events accepted a second, lately.
        seconds: since the stream began.
    """
    from rich.console import Group
    from rich.table import Table as Grid
    from rich.text import Text

    if not snapshot.run_id:
        return Text(f"the engine is starting; {seconds:,.0f} s")
    fates = ", ".join(f"{count:,} {fate.replace('_', ' ')}" for fate, count in snapshot.fates.items() if count)
    head = Text.assemble((snapshot.run_id, "bold"), f"   {seconds:,.0f} s   ", (f"{rate:,.0f} events/s", "bold"))
    if snapshot.latency is not None:
        p50, p95, p99 = snapshot.latency
        head.append(f"   decided after an event: p50 {p50:.2f} s, p95 {p95:.2f} s, p99 {p99:.2f} s")
    head.append(f"\nreceived {snapshot.received:,}: {fates or 'nothing yet'}; under way {snapshot.under_way:,}")
    counts = Grid.grid(padding=(0, 6))
    counts.add_row(_bars("people by stage", snapshot.stages), _bars("decided so far", snapshot.chosen))
    decisions = Grid(title="last decisions", title_justify="left", expand=True)
    for column in ("at", "person", "stage", "decided", "status", "because"):
        decisions.add_column(column, overflow="ellipsis", no_wrap=True, ratio=4 if column == "because" else None)
    for one in snapshot.decisions:
        at = f"{one.at:%m-%d %H:%M:%S}"
        words = (one.person_id[:10], one.stage, one.chosen, one.status or "", one.reason)
        decisions.add_row(at, *map(text, words))
    return Group(head, Text(), counts, Text(), *([decisions] if snapshot.decisions else []))


def _bars(title: str, counted: Sequence[tuple[str, int]]) -> RenderableType:
    """Names with their numbers, each as a bar beside."""
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid.grid(padding=(0, 2))
    grid.add_row(Text(title if counted else "", style="bold"))
    most = max((count for _, count in counted), default=0) or 1
    for name, count in counted:
        grid.add_row(text(name), f"{count:,}", "█" * round(_BAR * count / most))
    return grid
