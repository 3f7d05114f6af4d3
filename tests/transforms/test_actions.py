"""Actions: one effect a key whatever happens, one action a decision, and a ledger that balances."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts import wire
from contracts.errors import LedgerError
from contracts.event import DAY, HOUR
from contracts.exchange import Action, Decision
from transforms.actions import (
    ActRules,
    Performer,
    action_id_of,
    check_decision_ledger,
    decision_ledger,
    plan_action,
)
from transforms.channels.config import ChannelConfig, ChannelsConfig
from transforms.channels.delivery import BREAK_AFTER
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.effects import STATUSES, SendCap, Standing, open_effects

NOW = 1_700_000_000_000_000
LIVE = ActRules("live", NOW, duplicate_window=0)
DRY = replace(LIVE, mode="dry-run")


def a_decision(n: int = 1, **changes: object) -> Decision:
    base = Decision(
        decision_id=f"d{n}",
        person_id="p1",
        anchor_strand="s1",
        at=NOW - n,
        slot="main",
        trigger="session",
        stage="consideration",
        chosen="nurture",
        channel="email",
        template="hello",
        plan=None,
        plan_step=None,
        candidates=(),
        reason="the only one",
        policy_version="v1",
        model_version=None,
        ontology_version="o1",
        propensity=1.0,
        features={},
        facts={},
        consent={"email": True},
        purpose="email",
    )
    return replace(base, **changes)  # type: ignore[arg-type]


class Receiver:
    """A real HTTP server that counts keys; while ``holding`` it takes requests and does not answer."""

    def __init__(self) -> None:
        self.keys: Counter[str] = Counter()
        self.status = 200
        self.holding = threading.Event()
        self.arrived = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                receiver.keys[self.headers["Idempotency-Key"]] += 1
                receiver.arrived.set()
                deadline = time.monotonic() + 20
                while receiver.holding.is_set() and time.monotonic() < deadline:
                    time.sleep(0.02)
                try:
                    self.send_response(receiver.status)
                    self.end_headers()
                except OSError:
                    return

            def log_message(self, format: str, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self.holding.clear()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    opened = Receiver()
    yield opened
    opened.close()


def webhooks(url: str, *, idempotent: bool = False, retry: bool = False, attempts: int = 3) -> ChannelsConfig:
    return ChannelsConfig(
        default=ChannelConfig("webhook", url=url, idempotent=idempotent, retry_in_doubt=retry, attempts=attempts)
    )


def perform(
    out: Path, decisions: list[Decision], rules: ActRules = LIVE, channels: ChannelsConfig | None = None
) -> list[Action]:
    """One run over one OUT, as a worker does it."""
    store = open_effects(StoreAddress(out / STORE_FILE))
    performer = Performer(
        store,
        channels or ChannelsConfig(),
        out / "actions",
        rules,
        now=time.time_ns,
        clock=time.monotonic,
        sleep=lambda _: None,
    )
    try:
        return performer.perform(decisions)
    finally:
        performer.close()
        store.close()


def lines(out: Path, channel: str = "email") -> list[str]:
    path = out / "actions" / f"{channel}.jsonl"
    return path.read_text().splitlines() if path.exists() else []


# --- planning ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decision", "rules", "status", "reason"),
    [
        (a_decision(), LIVE, "pending", ""),
        (a_decision(), DRY, "suppressed", "dry run"),
        (a_decision(chosen="nothing", channel=None, template=None), LIVE, "suppressed", "nothing: the only one"),
        (a_decision(at=NOW - DAY), LIVE, "pending", ""),
        (a_decision(at=NOW - DAY - 1), LIVE, "suppressed", "stale"),
        (a_decision(consent={"email": False}), LIVE, "suppressed", "consent: email"),
        (a_decision(consent={}), LIVE, "pending", ""),
        (a_decision(consent={"email": False}, purpose=None), LIVE, "pending", ""),
    ],
)
def test_a_decision_is_sent_or_says_why_not(decision: Decision, rules: ActRules, status: str, reason: str) -> None:
    action = plan_action(decision, rules).action
    assert action.status == status
    assert action.reason.startswith(reason)
    assert bool(action.reason) == (status == "suppressed")


def test_an_action_id_depends_on_decision_and_channel_alone() -> None:
    plan = plan_action(a_decision(), LIVE).action
    other = plan_action(a_decision(person_id="p9", template="x", reason="else", at=5), DRY).action
    assert plan.action_id == other.action_id == action_id_of("d1", "email") != action_id_of("d1", "push")


# --- performing --------------------------------------------------------------------------------------------------


def test_each_decision_gives_one_action_in_order(tmp_path: Path) -> None:
    decisions = [a_decision(3), a_decision(1, chosen="nothing", channel=None), a_decision(2), a_decision(3)]
    done = perform(tmp_path, decisions)
    assert [action.decision_id for action in done] == ["d3", "d1", "d2", "d3"]
    assert [action.status for action in done] == ["sent", "suppressed", "sent", "sent"]
    assert len(lines(tmp_path)) == 2


def test_a_dry_run_sends_nothing(tmp_path: Path) -> None:
    first = perform(tmp_path, [a_decision()], DRY)
    assert perform(tmp_path, [a_decision()], DRY) == first
    assert first[0].status == "suppressed"
    assert lines(tmp_path) == []


def test_what_was_only_dry_is_sent_by_a_live_run_while_it_is_fresh(tmp_path: Path) -> None:
    decisions = [a_decision(1), a_decision(2)]
    dry = perform(tmp_path, decisions, DRY)
    late = perform(tmp_path, decisions, replace(LIVE, horizon=NOW + 2 * DAY))
    live = perform(tmp_path, decisions, replace(LIVE, horizon=NOW + 5))
    assert late == dry
    assert [(action.status, action.at) for action in live] == [("sent", NOW + 5)] * 2, "stamped with the horizon"
    assert perform(tmp_path, decisions, DRY) == live
    assert len(lines(tmp_path)) == 2


def test_a_stamp_may_come_from_the_clock(tmp_path: Path) -> None:
    (action,) = perform(tmp_path, [a_decision()], replace(LIVE, stamp="clock"))
    assert action.at != NOW


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(1, 8), max_size=8), max_size=5))
def test_running_again_in_any_batches_has_one_effect_an_action(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[int]]
) -> None:
    out = tmp_path_factory.mktemp("out")
    latest = {a.action_id: a for batch in batches for a in perform(out, [a_decision(n) for n in batch])}
    assert len(lines(out)) == len(latest) == len({n for batch in batches for n in batch})
    again = perform(out, [a_decision(n) for batch in batches for n in batch])
    assert {action.action_id: action for action in again} == latest


def test_a_cap_lets_the_earliest_through_however_a_batch_is_ordered(tmp_path: Path) -> None:
    rules = replace(LIVE, caps=(SendCap(DAY, 2, ("email",)),))
    done = perform(tmp_path, [a_decision(1), a_decision(2), a_decision(4), a_decision(3)], rules)
    assert {action.decision_id: action.status for action in done} == {
        "d1": "suppressed",
        "d2": "suppressed",
        "d3": "sent",
        "d4": "sent",
    }


def test_an_action_carries_who_the_person_is_now(tmp_path: Path) -> None:
    store = open_effects(StoreAddress(tmp_path / STORE_FILE))
    store.claim_decisions((), standings=[Standing("p_survivor", ("s0", "s1"), NOW)])
    store.close()
    assert perform(tmp_path, [a_decision()])[0].person_id == "p_survivor"


def test_an_unknown_channel_fails_with_a_reason(tmp_path: Path) -> None:
    (action,) = perform(tmp_path, [a_decision(channel="fax")], channels=ChannelsConfig(default=None))
    assert (action.status, action.reason) == ("failed", "no channel 'fax' is configured")


def test_a_refusal_is_final(tmp_path: Path, receiver: Receiver) -> None:
    receiver.status = 422
    (first,) = perform(tmp_path, [a_decision()], channels=webhooks(receiver.url))
    receiver.status = 200
    assert perform(tmp_path, [a_decision()], channels=webhooks(receiver.url)) == [first]
    assert (first.status, first.attempts, receiver.keys.total()) == ("failed", 1, 1)


def test_a_dead_channel_leaves_the_rest_to_the_next_run_and_slows_no_other(tmp_path: Path, receiver: Receiver) -> None:
    receiver.status = 503
    decisions = [a_decision(n) for n in range(1, BREAK_AFTER + 4)] + [a_decision(20, channel="file")]
    channels = ChannelsConfig(named={"email": webhooks(receiver.url, attempts=1).of("email") or ChannelConfig()})
    done = perform(tmp_path, decisions, channels=channels)
    assert decision_ledger(done) == {"sent": 1, "failed": BREAK_AFTER, "pending": 3, "suppressed": 0, "in_doubt": 0}
    receiver.status = 200
    again = perform(tmp_path, decisions, channels=channels)
    assert decision_ledger(again)["sent"] == 4
    # By the run after next it is too late.
    late = replace(LIVE, horizon=NOW + 3 * DAY)
    assert decision_ledger(perform(tmp_path, decisions, late, channels))["sent"] == 4


def test_a_dead_receiver_costs_its_attempts_once_a_bundle(tmp_path: Path, receiver: Receiver) -> None:
    receiver.status = 503
    store = open_effects(StoreAddress(tmp_path / STORE_FILE))
    channels = webhooks(receiver.url, attempts=1)
    performer = Performer(store, channels, tmp_path, LIVE, now=time.time_ns, clock=time.monotonic, sleep=lambda _: None)
    batches = [[a_decision(batch * 10 + n) for n in range(BREAK_AFTER + 2)] for batch in (1, 2, 3)]
    performer.start_bundle()
    for batch in batches:
        performer.perform(batch)
    assert receiver.keys.total() == BREAK_AFTER
    performer.start_bundle()
    performer.perform(batches[2])
    assert receiver.keys.total() == 2 * BREAK_AFTER
    performer.close()
    store.close()


# --- crashes -----------------------------------------------------------------------------------------------------

_RUN = """
import sys, time
from pathlib import Path
out, url, horizon, *packed = sys.argv[1:]
from contracts import wire
from contracts.exchange import Decision
from transforms.actions import ActRules, Performer
from transforms.channels.config import ChannelConfig, ChannelsConfig
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.effects import open_effects
channel = ChannelConfig("webhook", url=url, idempotent=False, retry_in_doubt=False)
Performer(
    open_effects(StoreAddress(Path(out) / STORE_FILE)), ChannelsConfig(default=channel), Path(out) / "actions",
    ActRules("live", int(horizon), duplicate_window=0), now=time.time_ns, clock=time.monotonic, sleep=time.sleep,
).perform([wire.unpack(Decision, bytes.fromhex(text)) for text in packed])
"""


def a_process(out: Path, url: str, n: int) -> subprocess.Popen[bytes]:
    packed = [wire.pack(a_decision(k)).hex() for k in range(1, n + 1)]
    root = Path(__file__).parents[2]
    return subprocess.Popen([sys.executable, "-c", _RUN, str(out), url, str(NOW), *packed], cwd=root)


@pytest.mark.parametrize("retry", [False, True])
def test_killed_between_intent_and_result_is_in_doubt_and_repeated_only_by_policy(
    retry: bool, tmp_path: Path, receiver: Receiver
) -> None:
    receiver.holding.set()
    process = a_process(tmp_path, receiver.url, 3)
    assert receiver.arrived.wait(30)
    process.send_signal(signal.SIGKILL)
    process.wait()
    receiver.holding.clear()
    first = plan_action(a_decision(3), LIVE).action.action_id
    assert receiver.keys == {first: 1}, "the earliest decision left, and the process died waiting"
    channels = webhooks(receiver.url, idempotent=retry, retry=retry)
    done = perform(tmp_path, [a_decision(n) for n in (1, 2, 3)], channels=channels)
    assert [action.status for action in done] == ["sent", "sent", "sent" if retry else "in_doubt"]
    assert receiver.keys[first] == (2 if retry else 1), "the same key, or not at all"
    assert all(receiver.keys[action.action_id] == 1 for action in done[:2])
    check_decision_ledger(3, decision_ledger(done))


def test_two_processes_on_the_same_decisions_send_each_once(tmp_path: Path, receiver: Receiver) -> None:
    n = 12
    processes = [a_process(tmp_path, receiver.url, n) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    done = perform(tmp_path, [a_decision(k) for k in range(1, n + 1)], channels=webhooks(receiver.url))
    assert {action.status for action in done} == {"sent"}
    assert set(receiver.keys.values()) == {1}
    assert len(receiver.keys) == n


# --- the ledger --------------------------------------------------------------------------------------------------


def test_the_decision_ledger_names_every_status_and_must_balance(tmp_path: Path) -> None:
    done = perform(tmp_path, [a_decision(1), a_decision(2, at=NOW - 2 * DAY), a_decision(3, at=NOW - HOUR)])
    counts = decision_ledger(done)
    assert set(counts) == set(STATUSES)
    check_decision_ledger(3, counts)
    with pytest.raises(LedgerError, match="4 decisions, but 3 actions"):
        check_decision_ledger(4, counts)
    with pytest.raises(LedgerError, match="lost"):
        check_decision_ledger(1, {"lost": 1})
