"""Whoever logs in stays on their side of an experiment, though the person's id is another one from then on."""

from __future__ import annotations

from pathlib import Path

from contracts import documents, wire
from contracts.event import DAY, HOUR, Context, Event, Identifier
from contracts.exchange import Decision, StrandBatch, StrandRecord
from contracts.tables import feature_tables
from features.journey_features import FEATURE_NAMES, feature_columns
from transforms.decide.asking import LINEAGE
from transforms.decide.decide import replay
from transforms.decide.policy import policy_vocabulary, read_policies
from transforms.identity.ids import canonical_id, strand_id
from transforms.journey.facts import FACTS
from transforms.journey.ontology import load_ontology
from transforms.journey.worker import JourneySettings, JourneyWorker
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.effects import open_effects

T0 = 1_704_067_200_000_000
ONTOLOGY = load_ontology(Path(__file__).parents[3] / "ontology" / "journey.yaml")
POLICY = """\
name: half
channels: [ads]
holdout: {share: 0.5}
candidates:
  - {name: greet, on: session, action: greet, channel: ads, purpose: none}
"""
POLICIES = read_policies(
    [documents.parse(POLICY, "p.yaml")], policy_vocabulary(FEATURE_NAMES, FACTS), ONTOLOGY.stage_names
)
PEOPLE = 24


def visits(number: int, login: bool) -> list[StrandRecord]:
    """Anonymous visits of one device, and, once its owner has logged in, one of the login; the person's id changes."""
    device, user = Identifier("anonymous_id", f"a{number}"), Identifier("user_id", f"u{number}")
    person = canonical_id(user if login else device)

    def record(owner: Identifier | None, *days: int) -> StrandRecord:
        who = (device,) if owner is None else (device, owner)
        events = [
            Event(f"e{number}-{day}", "home_view", at, at, "s", "web", who, context=Context("/"))
            for day, at in ((day, T0 + day * DAY) for day in days)
        ]
        name = strand_id(device, owner)
        return StrandRecord(name, device, owner, person, int(login), 1, tuple(wire.pack(event) for event in events))

    return [record(None, 0, 1), *([record(user, 2)] if login else [])]


def decisions(out: Path, *, login: bool) -> list[Decision]:
    features, scores = feature_tables(feature_columns(), ())
    settings = JourneySettings(ONTOLOGY, POLICIES, 48 * HOUR, 1, "live", 365 * DAY, features, scores)
    store = open_effects(StoreAddress(out / STORE_FILE))
    records = tuple(record for number in range(PEOPLE) for record in visits(number, login))
    try:
        worker = JourneyWorker(settings, None, store, lambda: 0)
        results = worker.fold_shard("j", [StrandBatch(records)], T0 + 3 * DAY)
        return [decision for result in results for decision in result.decisions]
    finally:
        store.close()


def arms(made: list[Decision], person_of: dict[str, int]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for decision in made:
        found.setdefault(person_of[decision.person_id], set()).add(decision.chosen)
    return found


def test_a_login_does_not_move_a_person_between_the_arms(tmp_path: Path) -> None:
    before = decisions(tmp_path, login=False)
    after = decisions(tmp_path, login=True)
    person_of = {
        canonical_id(Identifier(namespace, f"{letter}{number}")): number
        for number in range(PEOPLE)
        for namespace, letter in (("anonymous_id", "a"), ("user_id", "u"))
    }
    anonymous = arms(before, person_of)
    # the store holds what was decided before: only the visit after the login is new
    known = {decision.decision_id for decision in before}
    logged_in = arms([decision for decision in after if decision.decision_id not in known], person_of)
    assert len(anonymous) == len(logged_in) == PEOPLE
    assert logged_in == anonymous
    assert all(len(chosen) == 1 for chosen in anonymous.values())
    assert {"nothing", "greet"} == set().union(*anonymous.values())


def test_a_decision_under_a_holdout_records_the_lineage_and_gives_itself_again(tmp_path: Path) -> None:
    made = decisions(tmp_path, login=True)
    lineages = {strand_id(Identifier("anonymous_id", f"a{number}"), None) for number in range(PEOPLE)}
    assert {decision.facts[LINEAGE] for decision in made} == lineages
    assert [replay(decision, POLICIES) for decision in made] == made
