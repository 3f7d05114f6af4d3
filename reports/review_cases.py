"""What the audit shows and asks of the tables of OUT: journeys to draw from, and one journey as a person reads it.

Input: a connection to the views (``transforms.tables.views.open_views``). Output: ``models.review`` records and lines
of text without control characters. Times: UTC microseconds of event time. Errors: ``ModelError`` when there is nothing
to draw from. State: none.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from contracts.errors import ModelError
from contracts.event import DAY
from models.review import Audit, Journey, Sample
from reports.rendering import clean, day, length, moment, plural

_MOST_LINES = 40
"""Of a journey that are shown, the latest: a screen and a half."""

_IN_REACH = 0.5
"""Of what an entry takes: who has so much of it might be let in by a lower one."""


@dataclass(frozen=True, slots=True)
class Why:
    """What the pipeline went by for one journey: its scores, and the worth of its signals, at the horizon."""

    intents: dict[str, float]
    signals: dict[str, float]


def journeys_to_draw(connection: Any, days: int) -> list[Journey]:
    """Journeys of which something happened in the last ``days`` before the horizon.

    Raises:
        ModelError: there is none.
    """
    rows = connection.execute(
        """
        SELECT j.person_id, epoch_us(f.point), j.revision, j.stage, j.confidence, j.decided_by, j.ontology_version,
               j.model_version
        FROM journeys j
        JOIN (SELECT person_id, max("at") AS point FROM features GROUP BY person_id) f USING (person_id)
        JOIN (SELECT person_id, max(event_time) AS latest FROM events GROUP BY person_id) e USING (person_id)
        WHERE e.latest > j.horizon - to_microseconds(?) AND j.stage IS NOT NULL
        ORDER BY j.person_id
        """,
        [days * DAY],
    ).fetchall()
    if not rows:
        raise ModelError(
            f"no journey had an event in the last {days} days before the horizon",
            hint="run the pipeline on events first, or give more --days",
        )
    return [Journey(*row) for row in rows]


def journey_lines(connection: Any, sample: Sample, conversions: Collection[str]) -> list[str]:
    """The journey as a reviewer reads it: what is known of it in all, then its latest events, visit by visit.

    What came after the point asked about is not shown, however old the draw is: the label is about the stage then. What
    the pipeline thinks is not said. A single line says so when the person is no more: erased, or merged into another.

    Args:
        connection: to the views.
        sample: whose journey.
        conversions: behaviours that count as one; they are told however long ago they were.
    """
    rows = connection.execute(
        """
        SELECT event_time, name, coalesce(behaviours, '[]'), coalesce(channel, ''), coalesce(path, ''), session_id
        FROM events WHERE person_id = ? AND epoch_us(event_time) <= ? ORDER BY event_time, event_id
        """,
        [sample.journey.person_id, sample.journey.at],
    ).fetchall()
    if not rows:
        return ["This person is no more: erased, or merged into another since the sample was drawn."]
    asked, last = moment(sample.journey.at), rows[-1][0]
    silence = f", {length(asked - last)} after the latest event" if asked > last else ""
    converted = [at for at, _, behaviours, _, _, _ in rows if not set(conversions).isdisjoint(json.loads(behaviours))]
    visits = len({row[5] for row in rows if row[5] is not None})
    names = Counter(row[1] for row in rows)
    lines = [
        f"{plural(len(rows), 'event')} in {plural(visits, 'session')} from {day(rows[0][0])} to {day(last)} (UTC)",
        f"asked about {day(asked)}{silence}",
        f"{plural(len(converted), 'conversion')}, the latest {day(converted[-1])}" if converted else "no conversion",
        "all in all: " + ", ".join(f"{clean(name)} {count}" for name, count in names.most_common(12)),
    ]
    shown: list[tuple[str | None, datetime, str, int]] = []
    for (session, text), group in groupby(rows, key=lambda row: (row[5], _seen(*row[1:5]))):
        run = list(group)
        shown.append(
            (session, run[0][0], text if len(run) == 1 else f"{text} \N{MULTIPLICATION SIGN}{len(run)}", len(run))
        )
    hidden = sum(events for *_, events in shown[:-_MOST_LINES])
    if hidden:
        lines.append(f"({plural(hidden, 'earlier event')} not shown)")
    ends = {row[5]: row[0] for row in rows}
    begins = {row[5]: row[0] for row in reversed(rows)}
    before: str | None = None
    for session, at, text, _ in shown[-_MOST_LINES:]:
        if session is None:
            # no doing of the person: it belongs to no visit
            lines.append(f"  {day(at)}  {text}")
        else:
            if session != before:
                lines += ["", f"{day(begins[session])}, {length(ends[session] - begins[session])}"]
                before = session
            lines.append(f"  {at:%H:%M}  {text}")
    return lines


def _seen(name: str, behaviours: str, channel: str, path: str) -> str:
    """An event in a line: what it is called, and what that does not say already."""
    more = [part for part in (channel, path, *json.loads(behaviours)) if part not in ("", name)]
    return clean(f"{name:<20} {'  '.join(dict.fromkeys(more))}").rstrip()


def why_of(connection: Any, samples: Collection[Sample]) -> dict[str, Why]:
    """Scores and signals by person, of samples whose journey is still as it was drawn; one that went on has others."""
    if not samples:
        return {}
    drawn = {(sample.journey.person_id, sample.journey.revision) for sample in samples}
    rows = connection.execute(
        "SELECT person_id, revision, intents, signals FROM journeys WHERE list_contains(?, person_id)",
        [sorted({person for person, _ in drawn})],
    ).fetchall()
    return {
        person: Why(json.loads(intents or "{}"), _worths(signals))
        for person, revision, intents, signals in rows
        if (person, revision) in drawn
    }


def proposals(audit: Audit, why: dict[str, Why], entries: dict[str, float], stages: Sequence[str]) -> list[str]:
    """What to look at, the commonest mistake first: which side spoke, what carried it, and what would change it.

    Args:
        audit: the labels' result.
        why: of the persons of the wrong and the right samples.
        entries: stage to ``entry.intent``; stages without one are left out.
        stages: in order.
    """
    said: list[str] = []
    kinds = Counter((s.journey.stage, label, s.journey.decided_by) for s, label in audit.wrong)
    for (answer, label, by), count in sorted(kinds.items(), key=lambda item: (-item[1], item[0])):
        cases = [s for s, right in audit.wrong if (s.journey.stage, right, s.journey.decided_by) == (answer, label, by)]
        head = f"{count} of {len(audit.wrong)} wrong: {by} said {answer}, people say {label}."
        if by == "model":
            surest = max(case.journey.confidence for case in cases)
            head += (
                f" The model was at most {surest:.2f} sure: a larger model.margin lets the rules speak; more labels of"
                f" {label} teach it."
            )
        elif label in stages and answer in stages and stages.index(answer) > stages.index(label):
            right_ones = [s for s, _ in audit.right if s.journey.stage == answer]
            head += _too_far(answer, cases, right_ones, why, answer in entries)
        else:
            head += _not_far_enough(label, cases, why, entries)
        said.append(head)
    return said


def _too_far(
    answer: str, cases: Sequence[Sample], right: Sequence[Sample], why: dict[str, Why], by_intent: bool
) -> str:
    if not by_intent:
        return f" The condition of {answer} decides, whatever its signals: look at entry.when, and at what ends it."
    carried = Counter(top for case in cases if (top := _carrying(answer, why.get(case.journey.person_id))))
    if not carried:
        return (
            f" No signal of {answer} is left: hysteresis.back keeps them too long, or their journeys went on since the"
            " draw, or are no more."
        )
    signal, times = carried.most_common(1)[0]
    as_well = sum(_carrying(answer, why.get(case.journey.person_id)) == signal for case in right)
    return (
        f" {signal} carried {times} of them (and {as_well} of {len(right)} right ones): lower its weight or its"
        f" half_life, or say under {answer}'s weakened_by what speaks against it."
    )


def _not_far_enough(label: str, cases: Sequence[Sample], why: dict[str, Why], entries: dict[str, float]) -> str:
    scores = sorted(found.intents.get(label, 0.0) for case in cases if (found := why.get(case.journey.person_id)))
    entry = entries.get(label)
    if entry is None:
        return f" {label} is entered by its condition: look at entry.when, and at what events the sources send for it."
    if not scores:
        return f" What their intent of {label} was is not known: their journeys went on since the draw, or are no more."
    middle = scores[len(scores) // 2]
    if middle >= entry:
        return f" Their intent of {label} is {middle:.2f} of {entry:g}: its condition, or a later stage, stands before."
    # an entry lowered that far would let in whoever does anything at all
    lower = "lower entry.intent, " if middle >= entry * _IN_REACH else ""
    return (
        f" Their intent of {label} is {middle:.2f} of the {entry:g} that it takes: {lower}lengthen the half-lives of"
        " its signals, or add a signal for what they did."
    )


def _carrying(stage: str, why: Why | None) -> str | None:
    """The signal of a stage that is worth most, as ``stage.signal``."""
    own = {} if why is None else {n: worth for n, worth in why.signals.items() if n.startswith(f"{stage}.")}
    return max(sorted(own), key=lambda name: own[name], default=None)


def _worths(signals: str | None) -> dict[str, float]:
    """``stage.signal`` to its worth, from the column ``signals`` of journeys."""
    found = json.loads(signals or "[]")
    return {f"{one['stage']}.{one['signal']}": float(one["value"]) for one in found}
