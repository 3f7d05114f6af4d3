"""What other identity rules would change in an output: its journeys, and what is planned for their persons.

Input: the tables of OUT and the persons whose events would go to others. Output: ``Touched``. Nothing is written. What
is planned is read from the tables ``actions`` and ``decisions``: what the effect store held when the last run ended.
Errors: ``OutputError``. State: none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from reports.lookup import JourneyTables, Row
from transforms.decide.rules import PolicySet
from transforms.stores.effects import DRY_RUN, IN_DOUBT, PENDING, SUPPRESSED

_CHUNK = 5_000
_UNSETTLED: Mapping[str, str] = {
    PENDING: f"status = '{PENDING}'",
    IN_DOUBT: f"status = '{IN_DOUBT}'",
    DRY_RUN: f"status = '{SUPPRESSED}' AND reason = '{DRY_RUN}'",
}


@dataclass(frozen=True)
class Touched:
    """What of OUT would change.

    Attributes:
        journeys: journeys of OUT whose events would not stay together, or would be joined by others.
        of_journeys: all journeys of OUT.
        unknown: persons that change and of whom OUT has no journey: SOURCE holds more than OUT, or other rules made it.
        actions: unsettled actions of these persons, by state: pending, in doubt, or recorded by a dry run, which a
            live run may still send.
        steps: plans of these persons with a step decided and a later one to come.
    """

    journeys: int
    of_journeys: int
    unknown: int
    actions: Mapping[str, int]
    steps: int


def touched(tables: JourneyTables, persons: Collection[str], policies: PolicySet) -> Touched:
    """What of OUT concerns these persons, by their ids under the rules that made OUT."""
    journeys = steps = 0
    actions: Counter[str] = Counter()
    last = {plan.name: (len(plan.steps) - 1, plan.exit_on_move) for plan in policies.plans}
    for some in _chunks(sorted(persons)):
        found = tables.counts("journeys", "person_id", some)
        journeys += len(found)
        aliases = tables.rows("persons", "merged_into = ANY(?)", [some])
        family = [*some, *(row["person_id"] for row in aliases)]
        for state, where in _UNSETTLED.items():
            actions[state] += sum(tables.counts("actions", "person_id", family, where).values())
        steps += _open_steps(tables, family, last)
    return Touched(
        journeys=journeys,
        of_journeys=tables.count("journeys"),
        unknown=len(persons) - journeys,
        actions=dict(actions),
        steps=steps,
    )


def _open_steps(tables: JourneyTables, family: Sequence[str], last: Mapping[str, tuple[int, bool]]) -> int:
    """Plans that wait for a step: the latest decision of each run of a plan, unless the stage moved after it."""
    newest: dict[tuple[str, str], Row] = {}
    rows = tables.rows("decisions", "plan IS NOT NULL AND person_id = ANY(?)", [list(family)], order='"at"')
    for row in rows:
        newest[row["anchor_strand"], row["plan"]] = row
    waiting = [row for row in newest.values() if row["plan"] in last and row["plan_step"] < last[row["plan"]][0]]
    if not waiting:
        return 0
    moved: dict[str, object] = {}
    for row in tables.rows("transitions", "person_id = ANY(?)", [list(family)], order='"at"'):
        moved[row["person_id"]] = row["at"]
    return sum(
        1
        for row in waiting
        if not last[row["plan"]][1] or row["person_id"] not in moved or moved[row["person_id"]] <= row["at"]
    )


def _chunks(persons: Sequence[str]) -> Iterator[list[str]]:
    source = iter(persons)
    while some := list(islice(source, _CHUNK)):
        yield some
