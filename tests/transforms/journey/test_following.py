"""What is activated while journeys are under way takes force at its date, whatever a shard had stated after it."""

from __future__ import annotations

import random
import sys
import tempfile
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from journey_world import ONTOLOGY, SETTINGS, Strands, bounded, model, strict, without_consideration
from test_journey_core import TAILS, TIGHT, Host, misfortunes, packed, visit
from test_live_journeys import differences

from contracts.errors import StateVersionError
from contracts.event import DAY, HOUR
from contracts.exchange import MIN_TIME
from transforms.journey.dated import NOTHING, Activated, DatedOntologies
from transforms.journey.live.core import FOLDED_KEY, Bounds, JourneyCore
from transforms.journey.live.entries import Folded, pack_folded, unpack_folded
from transforms.journey.live.following import Following, Force
from transforms.journey.live.journeys import LiveJourneys
from transforms.journey.ontology import Ontology
from transforms.journey.ontology_file import parse_ontology
from transforms.journey.worker import JourneySettings, Score
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.effects import open_effects
from transforms.stores.records import open_records

T0 = 1_704_067_200_000_000
STRICT = strict().ontology
EASY = parse_ontology(ONTOLOGY.source.replace("entry: {intent: 2.0}", "entry: {intent: 0.6}"), "easy.yaml")
THREE = without_consideration()
OTHERS = (STRICT, EASY, ONTOLOGY)


class Registry:
    """A registry in memory: records of ontologies and of models, which are only ever added."""

    refusal = ""

    def __init__(self) -> None:
        self.ontologies: list[tuple[int, Ontology]] = []
        self.models: list[tuple[int, str | None]] = []

    def activate(self, at: int, ontology: Ontology) -> None:
        if not self.ontologies:
            self.ontologies.append((MIN_TIME, ONTOLOGY))
        self.ontologies.append((at, ontology))

    def known(self, *, at_once: bool = False) -> Activated:
        return Activated(len(self.ontologies), len(self.models))

    def force(self, activated: Activated) -> Force:
        return Force(activated, self._dated(activated.ontologies), self._score(activated.models))

    def since(self, before: Activated, after: Activated) -> int:
        added = [
            *(at for at, _ in self.ontologies[before.ontologies : after.ontologies]),
            *(at for at, _ in self.models[before.models : after.models]),
        ]
        return min(added)

    def settings(self) -> JourneySettings:
        """What a bounded run would have."""
        return replace(SETTINGS, dated=self._dated(len(self.ontologies)))

    def score(self) -> Score | None:
        return self._score(len(self.models))

    def _dated(self, count: int) -> DatedOntologies:
        records = self.ontologies[:count]
        spans: list[tuple[int, Ontology]] = [(MIN_TIME, ONTOLOGY)]
        for start in sorted({at for at, _ in records}):
            found = next(ontology for at, ontology in reversed(records) if at <= start)
            if start > MIN_TIME and found is not spans[-1][1]:
                spans.append((start, found))
        return DatedOntologies(tuple(spans))

    def _score(self, count: int) -> Score | None:
        records = self.models[:count]
        if not records:
            return None

        def score(times: Any, matrix: Any) -> tuple[list[str | None], Any]:
            versions = [next((v for start, v in reversed(records) if start <= at), None) for at in times]
            _, rows = model(times, matrix)
            for number, version in enumerate(versions):
                if version is None or np.isnan(rows[number][0]):
                    versions[number] = None
                    rows[number] = np.nan
                elif version == "m2":
                    rows[number] = rows[number][::-1]
            return versions, rows

        return score


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), alone=st.booleans(), stages=st.booleans(), tail=TAILS)
@example(seed=9964, alone=False, stages=False, tail=10**9)
@example(seed=185, alone=False, stages=False, tail=500)
def test_activations_on_the_way_give_the_tables_of_a_bounded_run_whatever_happens_besides(
    seed: int, alone: bool, stages: bool, tail: int
) -> None:
    """``stages``: ontologies may have others, and no model is in force, which would know those of one."""
    rng = random.Random(seed)
    strands = Strands(rng)
    strands.live(rng.randrange(1, 40), erasing=True)
    horizon = strands.now + rng.randrange(40 * DAY)
    registry = Registry()
    with tempfile.TemporaryDirectory() as folder:
        address = StoreAddress(Path(folder) / STORE_FILE)
        effects, records = open_effects(address), open_records(address)

        def make() -> JourneyCore:
            journeys = LiveJourneys(SETTINGS, None, effects)
            kept = None if alone else records
            bounds = replace(TIGHT, tail_bytes=tail)
            return JourneyCore(journeys, lambda: horizon, 3, kept, bounds, in_force=registry)

        host = Host(make)
        left = 4

        def activate() -> None:
            nonlocal left
            if left and rng.random() < 0.25:
                left -= 1
                at = rng.randrange(T0 - DAY, horizon + 2 * DAY)
                if stages:
                    registry.activate(at, rng.choice((*OTHERS, THREE)))
                elif rng.random() < 0.6:
                    registry.activate(at, rng.choice(OTHERS))
                else:
                    registry.models.append((at, rng.choice(["m1", "m2", None])))

        now = misfortunes(rng, host, strands, activate)
        drain(host, now)
        other = open_effects(StoreAddress(Path(folder) / "other" / STORE_FILE))
        expected = bounded(strands.records(), horizon, other, registry.score(), registry.settings())
        assert differences(host.tables, expected) == []
        assert host.core.journeys.force.activated == registry.known()
        other.close()
        records.close()
        effects.close()


def drain(host: Host, now: int) -> None:
    while True:
        step = host.core.drain(now + 1)
        host.done(step)
        if not step.again:
            return


class World:
    """One core with its stores and its registry."""

    def __init__(self, folder: Path, bounds: Bounds = TIGHT) -> None:
        address = StoreAddress(folder / STORE_FILE)
        self.effects, self.records = open_effects(address), open_records(address)
        self.other = open_effects(StoreAddress(folder / "other" / STORE_FILE))
        self.registry = Registry()
        self.bounds = bounds
        self.noted: list[Activated] = []
        self.strands = Strands(random.Random(1))
        self.horizon = T0 + 30 * DAY
        self.host = Host(self.make)

    def make(self, handed_to: int | None = None) -> JourneyCore:
        journeys = LiveJourneys(SETTINGS, None, self.effects)
        journeys.watermark = journeys.watermark if handed_to is None else handed_to
        return JourneyCore(
            journeys, lambda: self.horizon, 0, self.records, self.bounds, lambda: False, handed_to, self.registry,
            self.noted.append,
        )  # fmt: skip

    def close(self) -> None:
        for store in (self.effects, self.records, self.other):
            store.close()

    def advance(self, to: int) -> None:
        while self.host.next_event_time is not None and self.host.next_event_time <= to:
            self.host.done(self.host.core.advance(to, 50))

    def poll(self, now: int) -> None:
        """Polls, as long as the core asks for the next at once."""
        while True:
            step = self.host.core.poll(now)
            self.host.done(step)
            if step.next_poll is None or step.next_poll > now:
                return

    def moves(self) -> list[tuple[int, str]]:
        rows = self.host.tables.shown("transitions").values()
        return sorted((row["at"], row["to_stage"]) for row in rows)


@pytest.fixture
def world(tmp_path: Path) -> Any:
    made = World(tmp_path)
    yield made
    made.close()


def see(world: World, person: str, at: int, number: int) -> None:
    strands = world.strands
    message = visit(person, number, number - 1 if number > 10 else 0, at, strands)
    world.host.done(world.host.core.handle(packed([message]), number))


def test_a_date_ahead_takes_force_when_the_watermark_comes_to_it_for_whoever_is_asleep_too(world: World) -> None:
    world.bounds = replace(TIGHT, idle=1, settled=1, shard_bytes=0, machine_bytes=0)
    world.host.core = world.make()
    see(world, "p", T0, 10)
    world.advance(T0 + 399 * DAY)
    world.poll(60)
    assert world.host.core.journeys.records == {}
    assert world.host.next_event_time is None, "nothing is due for the person, whom the log does not even name"
    date = T0 + 400 * DAY
    world.registry.activate(date, STRICT)
    world.host.done(world.host.core.handle([], 70))
    world.poll(80)
    assert world.host.next_event_time == date
    world.host.restart()
    world.poll(90)
    assert world.host.next_event_time == date, "also after a restart"
    before = {key for key in world.host.tables.shown("features") if key[1] >= date}
    world.advance(date)
    assert {key for key in world.host.tables.shown("features") if key[1] >= date} - before == {("p", date)}


def test_nothing_before_the_date_is_stated_again_and_what_is_no_more_is_taken_back(world: World) -> None:
    see(world, "p", T0, 10)
    world.advance(T0 + 9 * DAY)
    before = deepcopy(world.host.tables.rows)
    date = T0 + 3 * DAY + HOUR
    world.registry.activate(date, EASY)
    world.poll(60)
    changed = {
        (name, key)
        for name, rows in world.host.tables.rows.items()
        for key, row in rows.items()
        if before[name].get(key) != row
    }
    assert changed, "an activation changes something"
    assert {key[1] >= date for name, key in changed if name in ("features", "transitions", "scores")} == {True}
    assert {name for name, _ in changed} <= {"features", "transitions", "journeys"}
    assert [row["ontology_version"] for row in world.host.tables.shown("journeys").values()] == [EASY.version]
    assert world.host.counts["renewed"] == 1
    assert world.noted == [Activated(2, 0)]
    world.poll(200)
    assert world.host.counts["renewed"] == 1, "once is enough"


def test_a_decision_that_was_made_stays_whatever_is_activated_before_it(world: World) -> None:
    see(world, "p", T0, 10)
    made = deepcopy(world.host.tables.shown("decisions"))
    assert made
    world.registry.activate(T0 - DAY, EASY)
    world.poll(60)
    found = world.host.tables.shown("decisions")
    assert {key: found[key] for key in made} == made


def test_a_new_stream_folds_again_what_was_handed_over_by_less(world: World) -> None:
    for number, person in enumerate("pqr"):
        see(world, person, T0 + number * HOUR, 10)
    drain(world.host, 20)
    stored = world.strands
    world.bounds = replace(TIGHT, idle=0, settled=0, shard_bytes=0)
    core = world.host.core
    core._bounds = core._keeping._bounds = world.bounds
    world.poll(5_000)
    world.poll(9_000)
    assert core.journeys.records == {}, "all are in the record store"
    world.registry.activate(T0 + 5 * DAY, STRICT)
    world.registry.models.append((T0 + 6 * DAY, "m1"))
    handed = world.horizon
    world.host.make = lambda: world.make(handed)
    world.host.core, world.host.log.entries = world.make(handed), []
    world.host.done(world.host.core.handle([], 10_000))
    world.poll(10_001)
    assert world.host.counts["renewed"] == 3
    drain(world.host, 10_002)
    assert stored.number == 3
    versions = {row["ontology_version"] for row in world.host.tables.shown("journeys").values()}
    assert versions == {STRICT.version}
    assert len(world.host.tables.shown("scores")) > 0
    assert world.noted[-1] == Activated(2, 1)


def test_a_shard_that_died_while_it_followed_goes_on_from_what_its_log_says(world: World) -> None:
    for number, person in enumerate("pq"):
        see(world, person, T0 + number * HOUR, 10)
    world.advance(T0 + 9 * DAY)
    world.registry.activate(T0 + DAY, EASY)
    see(world, "p", T0 + 10 * DAY, 11)
    entry = next(entry for entry in world.host.log.entries if entry.key == FOLDED_KEY)
    assert unpack_folded(entry.data) == Folded(NOTHING, Activated(2, 0)), "q is still as it was"
    world.registry.activate(T0 + 2 * DAY, STRICT)
    world.host.restart()
    assert world.host.core.journeys.force.activated == Activated(2, 0), "one after the other"
    world.poll(60)
    world.host.done(world.host.core.handle([], 70))
    world.poll(80)
    entry = next(entry for entry in world.host.log.entries if entry.key == FOLDED_KEY)
    assert unpack_folded(entry.data) == Folded(Activated(3, 0))


def test_who_had_the_turn_is_owed_nothing() -> None:
    following = Following()
    assert not following.owes("a")
    following.before, following.memory = object(), ["a", "b"]  # type: ignore[assignment]
    assert following.owes("a")
    following.done(["a"])
    assert not following.owes("a")
    following.turn(2, "m", renewed=False)
    assert [following.owes(name) for name in ("c", "m", "n")] == [False, False, True]
    following.turn(2, None, renewed=True)
    assert not following.owes("n")


def test_what_a_shard_was_folded_by_survives_and_a_later_version_is_refused_by_name() -> None:
    for note in (Folded(Activated(2, 1)), Folded(NOTHING, Activated(3, 4), "p")):
        assert unpack_folded(pack_folded(note)) == note
    data = pack_folded(Folded(NOTHING))
    with pytest.raises(StateVersionError, match="version 999"):
        unpack_folded(data[:1] + (999).to_bytes(2) + data[3:])
