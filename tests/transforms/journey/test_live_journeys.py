"""Journeys while they happen end as the bounded host would have them, whatever the way."""

from __future__ import annotations

import random
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from journey_world import (
    COMPARED,
    ONTOLOGY,
    SETTINGS,
    T0,
    Strands,
    Tables,
    bounded,
    model,
    strict,
    without_consideration,
)

from contracts.event import DAY
from contracts.exchange import MIN_TIME
from transforms.journey.dated import DatedOntologies
from transforms.journey.live.journeys import LiveJourneys
from transforms.journey.live.work import Work
from transforms.journey.worker import JourneySettings
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.effects import open_effects

STRICT = strict()


def differences(tables: Tables, expected: dict[str, dict[Any, dict[str, Any]]]) -> list[str]:
    found = []
    for name in COMPARED:
        shown = tables.shown(name)
        for key in sorted(shown.keys() | expected[name].keys(), key=str):
            if shown.get(key) != expected[name].get(key):
                found.append(f"{name} {key}: {shown.get(key)} instead of {expected[name].get(key)}")
    return found


def delivered(rng: random.Random, strands: Strands, disorder: int) -> list[list[Any]]:
    """Messages in batches, out of order by about ``disorder`` places, some of them twice."""
    messages = list(strands.sent)
    if disorder:
        messages += rng.choices(messages, k=len(messages) // 4)
        place = {id(message): index for index, message in enumerate(strands.sent)}
        messages.sort(key=lambda message: place[id(message)] + rng.random() * disorder)
    batches, start = [], 0
    while start < len(messages):
        size = rng.choice((1, 1, 2, 5, 20))
        batches.append(messages[start : start + size])
        start += size
    return batches


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 10**6), disorder=st.sampled_from([0, 0, 2, 8, 100]), scored=st.booleans())
@example(seed=74, disorder=100, scored=False)
def test_any_way_of_arrival_ends_in_the_tables_of_the_bounded_host(seed: int, disorder: int, scored: bool) -> None:
    agree(SETTINGS, seed, disorder, scored)


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 10**6), disorder=st.sampled_from([0, 0, 2, 8, 100]), scored=st.booleans())
def test_both_hosts_agree_on_conditions_that_time_turns_and_on_terminal_stages(
    seed: int, disorder: int, scored: bool
) -> None:
    agree(STRICT, seed, disorder, scored)


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 10**6),
    disorder=st.sampled_from([0, 0, 2, 8]),
    scored=st.booleans(),
    days=st.lists(st.integers(0, 40), min_size=3, max_size=3, unique=True),
)
def test_both_hosts_agree_when_ontologies_are_activated_on_the_way(
    seed: int, disorder: int, scored: bool, days: list[int]
) -> None:
    one, two, three = (T0 + day * DAY for day in sorted(days))
    spans = ((MIN_TIME, ONTOLOGY), (one, STRICT.ontology), (two, without_consideration()), (three, ONTOLOGY))
    agree(replace(SETTINGS, dated=DatedOntologies(spans)), seed, disorder, scored)


def agree(how: JourneySettings, seed: int, disorder: int, scored: bool) -> None:
    rng = random.Random(seed)
    strands = Strands(rng)
    strands.live(rng.randrange(1, 40), erasing=not disorder)
    horizon = strands.now + rng.randrange(40 * DAY)
    tables, counts = Tables(), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        store = open_effects(StoreAddress(Path(folder) / STORE_FILE))
        score = model if scored else None
        live = LiveJourneys(how, score, store)
        now = 1_000_000

        def done(work: Work) -> None:
            tables.take(work.stated)
            counts.update(work.counts)
            live.commit(work)

        for batch in delivered(rng, strands, disorder):
            now += rng.randrange(1, 1000)
            dice = rng.random()
            if dice < 0.1:
                live.apply(batch, now)  # it failed later on: nothing of it is committed
            if dice < 0.2:
                for person in list(live.live):
                    live.rest(person)
            if dice > 0.6:
                watermark = rng.randrange(strands.now - 20 * DAY, strands.now + 1)
                while (due := live.dues.first()) is not None and due <= watermark:
                    done(live.advance(watermark, now, most=2))
            done(live.apply(batch, now))
        done(live.drain(sorted(live.records), horizon, now + 10))
        other = open_effects(StoreAddress(Path(folder) / "other" / STORE_FILE))
        assert differences(tables, bounded(strands.records(), horizon, other, score, how)) == []
        assert counts["expired"] == 0
        assert not any(record.early for record in live.records.values())
        other.close()
        store.close()


def test_who_is_restored_is_woken_at_an_activation_that_was_recorded_since(tmp_path: Path) -> None:
    store = open_effects(StoreAddress(tmp_path / STORE_FILE))
    try:
        spans = ((MIN_TIME, ONTOLOGY), (T0 + DAY, STRICT.ontology))
        live = LiveJourneys(replace(SETTINGS, dated=DatedOntologies(spans)), None, store)
        live.watermark = T0
        live.dues.put("later", T0 + 9 * DAY)
        live.dues.put("sooner", T0 + 1)
        live.await_activation(["never", "later", "sooner"])
        assert [live.dues.of(person) for person in ("never", "later", "sooner")] == [T0 + DAY, T0 + DAY, T0 + 1]
        live.watermark = T0 + 2 * DAY
        live.await_activation(["past"])
        assert live.dues.of("past") is None
    finally:
        store.close()
