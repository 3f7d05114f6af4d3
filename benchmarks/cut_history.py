"""How far off stages are where history begins later: ``python -m benchmarks.cut_history --out OUT``.

The history of an output folder is folded by rules, once whole and once for each number of days with only the events of
those days before its end, by the pipeline's own cores. Compared is where everybody who did something in those days
stands at the end. ``tests/transforms/journey/test_cut_history.py`` has what is exact and the bounds of the rest.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.event import DAY, Event
from pipelines.definitions import load_definitions
from pipelines.known_by import known_by
from reports.history import History
from transforms.journey.fold import JourneyFold
from transforms.journey.functions import FUNCTIONS
from transforms.journey.ontology import Ontology
from transforms.journey.path import StagePaths


@dataclass(frozen=True, slots=True)
class Kept:
    """What is left of the truth with the events of some days.

    Attributes:
        days: how many.
        persons: with an event in them.
        same: of these, in the stage in which they stand by the whole history.
        unknown_conversion: of those elsewhere, who converted before these days.
    """

    days: int
    persons: int
    same: int
    unknown_conversion: int


def measure(history: History, ontology: Ontology, days: Sequence[int]) -> list[Kept]:
    """For each number of days; ``days`` in any order."""
    fold, paths = JourneyFold(ontology, FUNCTIONS), StagePaths(ontology, FUNCTIONS)
    counts = {number: [0, 0, 0] for number in days}

    def stage(person: str, events: list[tuple[Event, str]]) -> int:
        return paths.stage_path(fold.trace(person, events, history.horizon)).standing.stage

    for person in history.persons:
        events = history.of(person)
        whole = stage(person, events)
        for number, found in counts.items():
            cut = history.horizon - number * DAY
            left = [(event, strand) for event, strand in events if event.event_time > cut]
            if not left:
                continue
            found[0] += 1
            if len(left) == len(events) or stage(person, left) == whole:
                found[1] += 1
            else:
                found[2] += any(
                    not ontology.conversions.isdisjoint(ontology.meaning(event.name, event.context.path).behaviours)
                    for event, _ in events
                    if event.event_time <= cut
                )
    return [Kept(number, *found) for number, found in sorted(counts.items())]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="output folder of runs")
    parser.add_argument("--days", default="7,14,30,60,90", help="days of history that are kept")
    given = parser.parse_args()
    definitions = load_definitions(None)
    history = known_by(given.out, definitions, None).history
    print("| days kept | persons | same stage | elsewhere, converted before |\n|---:|---:|---:|---:|")
    for one in measure(history, definitions.ontology, [int(number) for number in given.days.split(",")]):
        print(
            f"| {one.days} | {one.persons:,} | {one.same / max(1, one.persons):.1%} | "
            f"{one.unknown_conversion:,} of {one.persons - one.same:,} |"
        )


if __name__ == "__main__":
    main()
