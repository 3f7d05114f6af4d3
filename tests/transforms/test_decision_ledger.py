"""What the journey stage decides and what the act stage did are counted apart, so a decision cannot vanish unseen."""

from __future__ import annotations

from pathlib import Path

import apache_beam as beam
import pytest

from contracts import coders, documents, wire
from contracts.errors import LedgerError
from contracts.event import DAY, HOUR, Context, Event, Identifier
from contracts.exchange import Decision, StrandBatch, StrandRecord
from contracts.tables import feature_tables
from features.journey_features import FEATURE_NAMES, feature_columns
from transforms.act import Act
from transforms.actions import ActRules, check_decision_ledger
from transforms.channels.config import ChannelsConfig
from transforms.decide.policy import policy_vocabulary, read_policies
from transforms.identity.ids import canonical_id, person_shard, strand_id
from transforms.journey.facts import FACTS
from transforms.journey.ontology import load_ontology
from transforms.journey.stage import Journey
from transforms.journey.worker import JourneySettings
from transforms.ledger import DECISIONS_FILE, SumLedger, read_decisions
from transforms.stores.database import STORE_FILE, StoreAddress

RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
T0 = 1_704_067_200_000_000
SHARDS = 2
ONTOLOGY = load_ontology(Path(__file__).parents[2] / "ontology" / "journey.yaml")
POLICY = """\
name: plain
channels: [ads]
candidates:
  - {name: greet, on: session, action: greet, channel: ads, purpose: none}
"""


def visit(number: int) -> tuple[bytes, StrandBatch]:
    """One person with two visits, of which the second is decided on, in their shard."""
    device = Identifier("anonymous_id", f"a{number}")
    events = [
        Event(f"e{number}-{at}", "home_view", at, at, "s", "web", (device,), context=Context("/"))
        for at in (T0, T0 + DAY)
    ]
    packed = tuple(wire.pack(event) for event in events)
    record = StrandRecord(strand_id(device, None), device, None, canonical_id(device), 0, 1, packed)
    return person_shard(record.person_id, SHARDS), StrandBatch((record,))


def is_kept(decision: Decision, lost: str) -> bool:
    return decision.person_id != lost


def run(out: Path, people: int, lost: str) -> dict[str, int]:
    """Journeys to actions, losing one person's decision on the way; the counts of the decision ledger."""
    coders.register()
    out.mkdir()
    policies = read_policies(
        [documents.parse(POLICY, "p.yaml")], policy_vocabulary(FEATURE_NAMES, FACTS), ONTOLOGY.stage_names
    )
    features, scores = feature_tables(feature_columns(), ONTOLOGY.stage_names)
    settings = JourneySettings(ONTOLOGY, policies, 48 * HOUR, 1, "live", 365 * DAY, features, scores)
    store = StoreAddress(out / STORE_FILE)
    with beam.Pipeline(RUNNER) as pipeline:
        horizon = pipeline | "Horizon" >> beam.Create([T0 + 2 * DAY])
        visits = pipeline | "Visits" >> beam.Create([visit(n) for n in range(people)]).with_output_types(
            tuple[bytes, StrandBatch]
        )
        journeys = visits | "Journey" >> Journey(settings, str(out / "registry"), store, horizon, SHARDS)
        left = journeys.decisions | "Lose" >> beam.Filter(is_kept, lost).with_output_types(Decision)
        rules = ActRules("live", horizon=0)
        acted = left | "Act" >> Act(store, out / "actions", ChannelsConfig(), rules, horizon, SHARDS)
        counts = (journeys.ledger, acted.ledger) | "All" >> beam.Flatten()
        _ = counts | "Ledger" >> SumLedger(str(out), DECISIONS_FILE)
    return read_decisions(out)


def test_a_decision_that_is_lost_before_it_is_carried_out_is_missed(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", 5, "")
    check_decision_ledger(whole.pop("decisions"), whole)
    assert sum(whole.values()) == 5
    short = run(tmp_path / "short", 5, canonical_id(Identifier("anonymous_id", "a3")))
    with pytest.raises(LedgerError, match="5 decisions, but 4 actions"):
        check_decision_ledger(short.pop("decisions"), short)
