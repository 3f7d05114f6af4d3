"""The act and learn stages in a graph, on the runner that hosts bounded runs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that

from contracts import coders
from contracts.errors import LockedError
from contracts.exchange import Action, Decision, Label, LearnInput, LedgerCount, LoggedDecision, Outcome
from transforms.act import BATCH, Act
from transforms.actions import ActRules
from transforms.channels.config import ChannelsConfig
from transforms.learn import Learn
from transforms.stores.effects import open_effects

RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
NOW = 1_700_000_000_000_000
LIVE = ActRules("live", NOW, duplicate_window=0, sent_at=NOW)


def a_decision(n: int) -> Decision:
    nothing = n % 2 == 0
    return Decision(
        decision_id=f"d{n}",
        person_id=f"p{n}",
        anchor_strand=f"s{n}",
        at=NOW - n,
        slot="main",
        trigger="session",
        stage="consideration",
        chosen="nothing" if nothing else "nurture",
        channel=None if nothing else "email",
        template=None if nothing else "hello",
        plan=None,
        plan_step=None,
        candidates=(),
        reason="why",
        policy_version="v1",
        model_version=None,
        ontology_version="o1",
        propensity=1.0,
        features={},
        facts={},
        consent={},
    )


def run(out: Path, decisions: list[Decision]) -> None:
    """One bounded run; checks that each decision gives one action and that the ledger of the bundle balances."""

    def check_actions(actions: list[Action]) -> None:
        assert sorted(action.decision_id for action in actions) == sorted(d.decision_id for d in decisions)
        assert all(action.status == ("suppressed" if action.channel == "nothing" else "sent") for action in actions)

    def check_ledger(counts: list[LedgerCount]) -> None:
        total: Counter[str] = Counter()
        for count in counts:
            total[count.kind] += count.n
        assert total.pop("decisions") == len(decisions) == sum(total.values())

    with beam.Pipeline(RUNNER) as pipeline:
        made = pipeline | beam.Create(decisions).with_output_types(Decision)
        acted = made | "Act" >> Act(out / "effects.sqlite", out / "actions", ChannelsConfig(), LIVE)
        assert_that(acted.actions, check_actions, label="Actions")
        assert_that(acted.ledger, check_ledger, label="Ledger")
        registered = coders.CODERS
        assert isinstance(beam.coders.registry.get_coder(acted.actions.element_type), registered[Action])
        assert isinstance(beam.coders.registry.get_coder(acted.ledger.element_type), registered[LedgerCount])


def test_a_graph_that_runs_twice_sends_once(tmp_path: Path) -> None:
    decisions = [a_decision(n) for n in range(1, 2 * BATCH + 4)]
    run(tmp_path, decisions)
    run(tmp_path, decisions)
    assert len((tmp_path / "actions" / "email.jsonl").read_text().splitlines()) == BATCH + 2


def test_a_locked_store_ends_the_run_with_its_own_error(tmp_path: Path) -> None:
    import sqlite3

    open_effects(tmp_path / "effects.sqlite").close()
    holder = sqlite3.connect(tmp_path / "effects.sqlite", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    act = Act(tmp_path / "effects.sqlite", tmp_path / "actions", ChannelsConfig(), LIVE, store_timeout=0.1)
    with pytest.raises(LockedError, match="locked by another process"), beam.Pipeline(RUNNER) as pipeline:
        _ = pipeline | beam.Create([a_decision(1)]).with_output_types(Decision) | "Act" >> act
    holder.close()


def test_learning_in_a_graph_gives_matured_labels() -> None:
    learn_input = LearnInput(
        "p1",
        NOW,
        (
            LoggedDecision("d1", "a1", "offer", NOW - 100, 0.5, "logged"),
            LoggedDecision("d2", None, "x", NOW, 1, "policy"),
        ),
        (Outcome("o1", "a1", "p1", "s1", "converted", NOW - 50, NOW),),
    )

    def check(found: list[Label]) -> None:
        assert [(label.decision_id, label.outcome, label.at) for label in found] == [("d1", "converted", NOW - 50)]

    with beam.Pipeline(RUNNER) as pipeline:
        made = pipeline | beam.Create([learn_input]).with_output_types(LearnInput) | "Learn" >> Learn(window=80)
        assert_that(made, check)
