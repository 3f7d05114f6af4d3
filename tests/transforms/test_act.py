"""The act and learn stages in a graph, on the runner that hosts bounded runs."""

from __future__ import annotations

import threading
from collections import Counter, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that
from apache_beam.utils.windowed_value import WindowedValue

from contracts import coders
from contracts.errors import LockedError
from contracts.exchange import Action, Decision, Label, LearnInput, LedgerCount, LoggedDecision, Outcome
from transforms.act import BATCH, WAIT, Act, _ActFn
from transforms.actions import ActRules
from transforms.channels.config import ChannelConfig, ChannelsConfig
from transforms.channels.delivery import BREAK_AFTER
from transforms.learn import Learn
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.effects import STATUSES, open_effects

RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
NOW = 1_700_000_000_000_000
LIVE = ActRules("live", horizon=0, duplicate_window=0)
"""The graph fills the horizon in."""


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


def horizon(pipeline: beam.Pipeline) -> beam.PCollection[int]:
    return pipeline | "Horizon" >> beam.Create([NOW])


def run(out: Path, decisions: list[Decision]) -> None:
    """One bounded run; checks that each decision gives one action and that the ledger of the bundle balances."""

    def check_actions(actions: list[Action]) -> None:
        assert sorted(action.decision_id for action in actions) == sorted(d.decision_id for d in decisions)
        assert all(action.status == ("suppressed" if action.channel == "nothing" else "sent") for action in actions)
        assert {action.at for action in actions if action.status == "sent"} == {NOW}

    def check_labels(found: list[tuple[bytes, list[Label]]]) -> None:
        assert sorted(label.decision_id for _, shard in found for label in shard) == sorted(
            decision.decision_id for decision in decisions
        )

    def check_ledger(counts: list[LedgerCount]) -> None:
        total: Counter[str] = Counter()
        for count in counts:
            total[count.kind] += count.n
        assert set(total) <= set(STATUSES)
        assert len(decisions) == sum(total.values())

    with beam.Pipeline(RUNNER) as pipeline:
        made = pipeline | beam.Create(decisions).with_output_types(Decision)
        acted = made | "Act" >> Act(store_in(out), out / "actions", ChannelsConfig(), LIVE, horizon(pipeline))
        assert_that(acted.actions, check_actions, label="Actions")
        assert_that((acted.learn,) | "Learn" >> Learn(window=0), check_labels, label="Labels")
        assert_that(acted.ledger, check_ledger, label="Ledger")
        registered = coders.CODERS
        assert isinstance(beam.coders.registry.get_coder(acted.actions.element_type), registered[Action])
        assert isinstance(beam.coders.registry.get_coder(acted.ledger.element_type), registered[LedgerCount])


def store_in(folder: Path) -> StoreAddress:
    return StoreAddress(folder / STORE_FILE)


def test_a_graph_that_runs_twice_sends_once(tmp_path: Path) -> None:
    decisions = [a_decision(n) for n in range(1, BATCH + 4)]
    run(tmp_path, decisions)
    run(tmp_path, decisions)
    assert len((tmp_path / "actions" / "email.jsonl").read_text().splitlines()) == BATCH // 2 + 2


def test_a_dead_receiver_is_tried_anew_in_each_bundle_and_not_in_each_batch(tmp_path: Path) -> None:
    attempts: list[int] = []

    class Dead(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            attempts.append(1)
            self.send_response(503)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Dead)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    hook = ChannelConfig("webhook", url=f"http://127.0.0.1:{server.server_port}/", attempts=1)
    act = _ActFn(store_in(tmp_path), tmp_path, ChannelsConfig(default=hook), LIVE, 4, 5.0)
    act.setup()
    seen = []
    for bundle in (0, 1):
        act.start_bundle()
        for n in range(2 * BATCH + 20):
            deque(act.process(a_decision(bundle * 10_000 + n), NOW), maxlen=0)
        deque(act.finish_bundle(), maxlen=0)
        seen.append(len(attempts))
    act.teardown()
    server.shutdown()
    server.server_close()
    assert seen == [BREAK_AFTER, 2 * BREAK_AFTER]


def test_what_a_stream_decided_does_not_wait_for_the_end_of_a_long_bundle(tmp_path: Path) -> None:
    now = [100.0]
    act = _ActFn(store_in(tmp_path), tmp_path, ChannelsConfig(), LIVE, 4, 5.0, WAIT, lambda: now[0])
    act.setup()
    act.start_bundle()

    def done(n: int, after: float) -> list[str]:
        now[0] += after
        return [done.decision_id for done in act.process(a_decision(n)) if isinstance(done, Action)]

    assert [done(1, 0.0), done(2, 0.6 * WAIT), done(3, 0.6 * WAIT), done(4, 0.6 * WAIT)] == [[], [], ["d1", "d2"], []]
    left = [done.value for done in act.finish_bundle() if isinstance(done, WindowedValue)]
    assert [action.decision_id for action in left] == ["d3", "d4"]
    act.teardown()


def test_a_locked_store_ends_the_run_with_its_own_error(tmp_path: Path) -> None:
    import sqlite3

    open_effects(store_in(tmp_path)).close()
    holder = sqlite3.connect(tmp_path / STORE_FILE, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    pipeline = beam.Pipeline(RUNNER)
    act = Act(store_in(tmp_path), tmp_path / "actions", ChannelsConfig(), LIVE, horizon(pipeline), store_timeout=0.1)
    _ = pipeline | beam.Create([a_decision(1)]).with_output_types(Decision) | "Act" >> act
    with pytest.raises(LockedError, match="locked by another process"):
        pipeline.run()
    holder.close()


def test_learning_in_a_graph_gives_matured_labels() -> None:
    past = LearnInput(
        "p1",
        NOW,
        (LoggedDecision("d2", None, "x", NOW, 1, "policy"),),
        (Outcome("o1", "a1", "p1", "s1", "converted", NOW - 50, NOW),),
    )
    just_done = LearnInput("p1", NOW, (LoggedDecision("d1", "a1", "offer", NOW - 100, 0.5, "logged"),), ())
    keyed = tuple[bytes, LearnInput]

    def check(found: list[tuple[bytes, list[Label]]]) -> None:
        labels = [(label.decision_id, label.outcome, label.at) for _, shard in found for label in shard]
        assert labels == [("d1", "converted", NOW - 50)]

    with beam.Pipeline(RUNNER) as pipeline:
        journey = pipeline | "Past" >> beam.Create([(b"s", past)]).with_output_types(keyed)
        act = pipeline | "Done" >> beam.Create([(b"s", just_done)]).with_output_types(keyed)
        assert_that((journey, act) | "Learn" >> Learn(window=80), check)
