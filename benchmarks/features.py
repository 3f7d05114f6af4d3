"""What features cost inside the fold: the same journeys are folded with them and without."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Self

from contracts import wire
from contracts.event import Event
from features.journey_features import FEATURE_NAMES, vector
from features.state import FeatureState
from pipelines.definitions import load_definitions
from transforms.collector import relax_collector
from transforms.journey.feature_port import FeatureFunctions
from transforms.journey.fold import JourneyFold
from transforms.tables.log import read_log

_SAMPLE = 20_000
_REPEATS = 4


class _Nothing:
    """An accumulator that takes no notice."""

    def observe(self, *arguments: object, **named: object) -> None:
        return None

    def fork(self) -> Self:
        return self


def _no_vector(state: Any, at: int) -> tuple[float, ...]:
    return ()


def feature_share(out: Path) -> float:
    """The part of the fold's CPU that is features, measured on a sample of the events that a run kept in its log."""
    journeys: dict[str, list[tuple[bytes, str]]] = defaultdict(list)
    kept = (stored for part in sorted((out / "log").glob("*.parquet")) for stored in read_log(part))
    for stored in islice(kept, _SAMPLE):
        journeys[stored.primary.value].append((stored.event, stored.primary.value))
    ontology = load_definitions(None).ontology
    kinds = (FeatureFunctions((), _Nothing, _no_vector), FeatureFunctions(FEATURE_NAMES, FeatureState, vector))
    spent = [float("inf"), float("inf")]
    relax_collector()
    for _ in range(_REPEATS):
        # in turns, so that whatever else the machine does meets both
        for number, functions in enumerate(kinds):
            spent[number] = min(spent[number], _fold(JourneyFold(ontology, functions), journeys))
    without, whole = spent
    return max(0.0, 1.0 - without / whole)


def _fold(fold: JourneyFold, journeys: Mapping[str, list[tuple[bytes, str]]]) -> float:
    """CPU seconds of folding all journeys."""
    begun = time.process_time()
    for person, packed in journeys.items():
        events = [(wire.unpack(Event, event), strand) for event, strand in packed]
        fold.trace(person, events, max(event.event_time for event, _ in events))
    return time.process_time() - begun
