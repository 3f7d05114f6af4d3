"""Who has a strand after another is decided as if alone: the order in which persons are decided changes nothing."""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from hypothesis import example, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from journey_world import ONTOLOGY, SETTINGS, T0, Strands, model, without_consideration

from contracts import documents, wire
from contracts.event import DAY, HOUR, MINUTE, Event, Identifier
from contracts.exchange import MAX_TIME, MIN_TIME, WHOLE, Action, Decision, StrandBatch, StrandMessage, StrandRecord
from features.journey_features import FEATURE_NAMES
from transforms.actions import ActRules, Performer
from transforms.channels.config import ChannelsConfig
from transforms.decide.policy import policy_vocabulary, read_policies
from transforms.journey.dated import DatedOntologies
from transforms.journey.facts import FACTS
from transforms.journey.live.journeys import LiveJourneys
from transforms.journey.worker import JourneyWorker
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.effects import EffectStore, SendCap, open_effects

POLICY = """\
name: busy
channels: [email, ads]
consent: {email: granted}
caps: [{name: few, max: 2, per: 12h, channels: [email]}]
suppress: [{name: gone, after: unsubscribed, for: 30d, channels: [email]}]
candidates:
  - {name: greet, on: [session, transition], action: greet, channel: email, purpose: email, cooldown: 1h}
  - {name: show, on: [session, transition], action: show, channel: ads, purpose: none}
plans:
  - name: drip
    start: {to: [discovery, consideration, decision]}
    exit: {stage_moves: false}
    cooldown: 1h
    steps:
      - {name: one, wait: 3h, action: one, channel: email, purpose: email}
      - {name: two, wait: 1d, action: two, channel: email, purpose: email}
      - {name: three, wait: 6d, action: three, channel: ads, purpose: none}
"""
POLICIES = read_policies(
    [documents.parse(POLICY, "p.yaml")], policy_vocabulary(FEATURE_NAMES, FACTS), ONTOLOGY.stage_names
)
# All who are there when another ontology comes into force may move at the one instant.
DATED = DatedOntologies(((MIN_TIME, without_consideration()), (T0 + 6 * DAY, ONTOLOGY)))
BUSY = replace(SETTINGS, policies=POLICIES, dated=DATED, max_age=60 * DAY)
PERSONS = tuple(f"p{number}" for number in range(4))
NOBODY = "nobody"
GAPS = (MINUTE, 20 * MINUTE, HOUR, 5 * HOUR, DAY)
FEW = SendCap(2 * DAY, 3, ("email",))

Records = dict[str, list[StrandRecord]]


class Made(NamedTuple):
    """What came of all persons, whoever went first."""

    decisions: dict[str, Decision]
    actions: dict[str, Action]


def shared_devices(seed: int) -> tuple[Records, Records, int]:
    """Devices that persons have in turn, and strands of their own; what there is of the devices while they are still
    nobody's; the horizon of all."""
    rng = random.Random(seed)
    source = Strands(rng)
    whole: Records = {person: [] for person in PERSONS}
    nobodys: Records = {NOBODY: []}
    latest = T0
    for number in range(2):
        device = f"d{number}"
        events = visits(source, rng, 30)
        cuts = sorted({rng.choice(events).event_time for _ in range(4)})
        begins = (MIN_TIME, *cuts)
        owners = [rng.choice(PERSONS)]
        while len(owners) < len(begins):
            owners.append(rng.choice([person for person in PERSONS if person != owners[-1]]))
        for person in sorted(set(owners)):
            spans = tuple(
                (begin, end)
                for owner, begin, end in zip(owners, begins, (*begins[1:], MAX_TIME), strict=True)
                if owner == person
            )
            own = [event for event in events if any(begin <= event.event_time < end for begin, end in spans)]
            if own:
                whole[person].append(record(device, person, own, spans))
        early = [event for event in events if event.event_time < T0 + 8 * DAY]
        nobodys[NOBODY].append(record(device, NOBODY, early))
        latest = max(latest, events[-1].event_time)
    for person in PERSONS:
        if rng.random() < 0.5:
            whole[person].append(record(f"own-{person}", person, visits(source, rng, 5)))
    return {person: held for person, held in whole.items() if held}, nobodys, latest + 20 * DAY


def visits(source: Strands, rng: random.Random, most: int) -> list[Event]:
    at = T0 + rng.randrange(DAY)
    events = []
    for _ in range(rng.randrange(2, most)):
        at += rng.choice(GAPS)
        events.append(source.event(at))
    return sorted(events, key=lambda event: event.order)


def record(strand: str, person: str, events: Sequence[Event], spans: tuple[tuple[int, int], ...] = ()) -> StrandRecord:
    packed = tuple(wire.pack(event) for event in events)
    return StrandRecord(strand, Identifier("anonymous_id", strand), None, person, 1, 1, packed, spans)


Decide = Callable[[str, list[StrandRecord], int], Sequence[Decision]]


def made_by(host: Callable[[EffectStore], Decide], runs: Sequence[tuple[Sequence[str], Records, int]]) -> Made:
    """Decide and act for one person after the other; in runs, each with its order and its horizon, on one store."""
    made = Made({}, {})
    with tempfile.TemporaryDirectory() as folder:
        store = open_effects(StoreAddress(Path(folder) / STORE_FILE))
        performer = Performer(
            store, ChannelsConfig(), Path(folder), ActRules("live", T0, BUSY.max_age, (FEW,)),
            now=lambda: T0, clock=lambda: 0.0, sleep=lambda seconds: None,
        )  # fmt: skip
        for order, records, horizon in runs:
            performer.see(horizon)
            decide = host(store)
            for person in order:
                decisions = decide(person, records[person], horizon)
                assert {decision.person_id for decision in decisions} <= {person, NOBODY}
                made.decisions.update((decision.decision_id, decision) for decision in decisions)
                made.actions.update((action.action_id, action) for action in performer.perform(decisions))
        performer.close()
        store.close()
    return made


def bounded(store: EffectStore) -> Decide:
    worker = JourneyWorker(BUSY, model, store, lambda: 0)

    def decide(person: str, records: list[StrandRecord], horizon: int) -> list[Decision]:
        results = worker.fold_shard(person, [StrandBatch(tuple(records))], horizon)
        return [decision for result in results for decision in result.decisions]

    return decide


def live(store: EffectStore) -> Decide:
    journeys = LiveJourneys(BUSY, model, store)
    version = 100

    def decide(person: str, records: list[StrandRecord], horizon: int) -> list[Decision]:
        nonlocal version
        decisions: list[Decision] = []
        for held in records:
            version += 1
            message = StrandMessage(
                held.strand_id, held.primary, None, person, WHOLE, 1, version, 0, held.events, held.spans
            )
            work = journeys.apply([message], version)
            journeys.commit(work)
            decisions += work.decisions
        work = journeys.drain([person], horizon, version)
        journeys.commit(work)
        return [*decisions, *work.decisions]

    return decide


seeds = st.integers(0, 10**6)


@settings(deadline=None, max_examples=25)
@given(seed=seeds, order=st.permutations(PERSONS))
@example(seed=0, order=list(reversed(PERSONS)))
def test_who_is_decided_first_changes_nothing_in_a_bounded_run(seed: int, order: list[str]) -> None:
    records, _, horizon = shared_devices(seed)
    first = made_by(bounded, [(sorted(records), records, horizon)])
    other = made_by(bounded, [([person for person in order if person in records], records, horizon)])
    assert other == first


@settings(deadline=None, max_examples=25)
@given(seed=seeds, order=st.permutations(PERSONS))
@example(seed=0, order=list(reversed(PERSONS)))
def test_nor_in_a_run_that_finds_out_whose_the_devices_were(seed: int, order: list[str]) -> None:
    records, before, horizon = shared_devices(seed)
    earlier = ([NOBODY], before, T0 + 8 * DAY)
    first = made_by(bounded, [earlier, (sorted(records), records, horizon)])
    other = made_by(bounded, [earlier, ([person for person in order if person in records], records, horizon)])
    assert other == first


@settings(deadline=None, max_examples=25)
@given(seed=seeds, order=st.permutations(PERSONS))
@example(seed=0, order=list(reversed(PERSONS)))
def test_nor_in_a_stream(seed: int, order: list[str]) -> None:
    records, _, horizon = shared_devices(seed)
    first = made_by(live, [(sorted(records), records, horizon)])
    other = made_by(live, [([person for person in order if person in records], records, horizon)])
    assert other == first


@settings(deadline=None, max_examples=10)
@given(seed=seeds)
def test_all_together_are_decided_as_one_after_the_other(seed: int) -> None:
    records, _, horizon = shared_devices(seed)
    with tempfile.TemporaryDirectory() as folder:
        store = open_effects(StoreAddress(Path(folder) / STORE_FILE))
        together = bounded(store)("all", [record for held in records.values() for record in held], horizon)
        store.close()
    alone = made_by(bounded, [(sorted(records), records, horizon)])
    assert {decision.decision_id: decision for decision in together} == alone.decisions
