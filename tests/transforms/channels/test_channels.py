"""Channels: one suite over both for what every channel promises, then what each adds."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from contracts.documents import parse
from contracts.errors import ConfigurationError, OutputError
from contracts.event import SECOND
from transforms.channels.base import Channel, Message, PermanentError, TransientError, UncertainError
from transforms.channels.config import ChannelConfig, open_channel, parse_channels
from transforms.channels.delivery import BREAK_AFTER, Delivery
from transforms.channels.file import FileChannel
from transforms.secret import SecretReference


def a_message(n: int = 1) -> Message:
    return Message(
        action_id=f"a{n}",
        decision_id=f"d{n}",
        person_id="p1",
        anchor_strand="s1",
        channel="email",
        template="hello",
        at=1_700_000_000_000_000,
        stage="consideration",
        purpose="email",
        plan=None,
        plan_step=None,
        session_id=None,
        reason="the only one",
        policy_version="v1",
    )


class Receiver:
    """A real HTTP server on its own thread. ``answers`` is used up from the front, then 200; a callable misbehaves."""

    def __init__(self) -> None:
        self.answers: list[int | Callable[[BaseHTTPRequestHandler], None]] = []
        self.headers: dict[str, str] = {}
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.seen.append((self.path, dict(self.headers), body))
                answer = receiver.answers.pop(0) if receiver.answers else 200
                if callable(answer):
                    answer(self)
                    return
                self.send_response(answer)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?tenant=7"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def keys(self) -> list[str]:
        return [headers["Idempotency-Key"] for _, headers, _ in self.seen]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    opened = Receiver()
    yield opened
    opened.close()


def a_webhook(url: str, *, idempotent: bool = False, timeout: int = 5 * SECOND) -> Channel:
    config = ChannelConfig("webhook", url=url, idempotent=idempotent, retry_in_doubt=False, timeout=timeout)
    return open_channel("email", config, Path("unused"))


# --- every channel -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "webhook"])
def test_a_message_arrives_whole_under_its_key(kind: str, tmp_path: Path, receiver: Receiver) -> None:
    channel = open_channel("email", ChannelConfig(kind, url=receiver.url), tmp_path)
    receipt = channel.send([a_message()])
    channel.close()
    arrived = (tmp_path / "email.jsonl").read_bytes() if kind == "file" else receiver.seen[0][2]
    assert json.loads(arrived) == json.loads(a_message().as_json())
    assert receipt.detail in ("appended to email.jsonl", "HTTP 200")


# --- file --------------------------------------------------------------------------------------------------------


def test_a_key_has_at_most_one_line(tmp_path: Path) -> None:
    first, second = FileChannel("email", tmp_path), FileChannel("email", tmp_path)
    first.send([a_message(1), a_message(2)])
    second.send([a_message(2), a_message(3)])
    first.send([a_message(3), a_message(1)])
    lines = (tmp_path / "email.jsonl").read_text().splitlines()
    assert [json.loads(line)["action_id"] for line in lines] == ["a1", "a2", "a3"]
    first.close()
    second.close()


def test_a_line_cut_by_a_crash_is_removed_and_written_again(tmp_path: Path) -> None:
    path = tmp_path / "email.jsonl"
    channel = FileChannel("email", tmp_path)
    channel.send([a_message(1)])
    with path.open("ab") as cut:
        cut.write(a_message(2).as_json()[:40])
    channel.send([a_message(2)])
    channel.close()
    assert [json.loads(line)["action_id"] for line in path.read_text().splitlines()] == ["a1", "a2"]


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "email.jsonl").write_text("dear diary\n")
    channel = FileChannel("email", tmp_path)
    with pytest.raises(PermanentError, match="no action"):
        channel.send([a_message()])
    channel.close()
    assert (tmp_path / "email.jsonl").read_text() == "dear diary\n"


@pytest.mark.parametrize("name", ["../up", "a/b", "", "e mail", "ä"])
def test_a_name_that_leaves_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        FileChannel(name, tmp_path)


def test_an_unwritable_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "actions").write_text("a file, no folder")
    with pytest.raises(OutputError, match="cannot be written"):
        FileChannel("email", tmp_path / "actions")


_APPENDER = """
import sys
from pathlib import Path
from transforms.channels.base import Message
from transforms.channels.file import FileChannel
channel = FileChannel("email", Path(sys.argv[1]))
for n in range(60):
    channel.send([Message(f"a{n}", "d", "p", "s", "email", "t", n, "x", None, None, None, None, "", "v1")])
"""


def test_two_processes_append_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _APPENDER, str(tmp_path)]
    writers = [subprocess.Popen(command, cwd=Path(__file__).parents[3]) for _ in range(2)]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    lines = (tmp_path / "email.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["action_id"] for line in lines) == sorted(f"a{n}" for n in range(60))


# --- webhook -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, PermanentError),
        (400, PermanentError),
        (401, PermanentError),
        (409, PermanentError),
        (408, TransientError),
        (425, TransientError),
        (429, TransientError),
        (503, TransientError),
        (500, UncertainError),
        (501, UncertainError),
        (502, UncertainError),
        (504, UncertainError),
        (507, UncertainError),
    ],
)
def test_an_answer_says_whether_to_try_again(status: int, error: type[Exception], receiver: Receiver) -> None:
    receiver.answers = [status]
    with pytest.raises(error, match=f"HTTP {status}"):
        a_webhook(receiver.url).send([a_message()])


def test_the_receiver_can_check_the_sender(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", "s3cret")
    config = ChannelConfig("webhook", url=receiver.url, secret=SecretReference(env="HOOK_SECRET"))
    open_channel("email", config, Path("unused")).send([a_message()])
    path, headers, body = receiver.seen[0]
    assert path == "/hook?tenant=7"
    assert headers["Idempotency-Key"] == "a1"
    assert headers["Wayline-Signature"] == f"sha256={hmac.new(b's3cret', body, hashlib.sha256).hexdigest()}"


def test_a_receiver_that_is_not_there_has_not_acted() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(TransientError, match="cannot connect"):
        a_webhook(f"http://127.0.0.1:{port}/").send([a_message()])


def test_a_connection_lost_after_the_request_is_uncertain(receiver: Receiver) -> None:
    receiver.answers = [lambda handler: handler.connection.shutdown(socket.SHUT_RDWR)]
    with pytest.raises(UncertainError):
        a_webhook(receiver.url).send([a_message()])


def _drip(handler: BaseHTTPRequestHandler) -> None:
    try:
        for _ in range(100):
            handler.wfile.write(b"H")
            handler.wfile.flush()
            time.sleep(0.05)
    except OSError:
        return


def test_the_timeout_bounds_the_whole_exchange(receiver: Receiver) -> None:
    receiver.answers = [_drip]
    start = time.monotonic()
    with pytest.raises(UncertainError):
        a_webhook(receiver.url, timeout=SECOND // 4).send([a_message()])
    assert time.monotonic() - start < 2


# --- delivery ----------------------------------------------------------------------------------------------------


class Time:
    """A clock that moves only when slept on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.naps: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds

    def delivery(self, channel: Channel, *, attempts: int = 3, rate: float | None = None) -> Delivery:
        return Delivery(channel, attempts=attempts, rate=rate, clock=lambda: self.now, sleep=self.sleep)


def test_a_failing_receiver_is_tried_again_with_growing_pauses(receiver: Receiver) -> None:
    receiver.answers = [503, 503]
    clock = Time()
    done = clock.delivery(a_webhook(receiver.url)).send([a_message()])
    assert (done.status, done.attempts, receiver.keys) == ("sent", 3, ["a1"] * 3)
    assert 0.125 <= clock.naps[0] <= 0.375
    assert 0.25 <= clock.naps[1] <= 0.75


def test_the_receivers_own_wish_is_heard(receiver: Receiver) -> None:
    receiver.answers = [429]
    receiver.headers = {"Retry-After": "7"}
    clock = Time()
    assert clock.delivery(a_webhook(receiver.url)).send([a_message()]).status == "sent"
    assert clock.naps == [7.0]


@pytest.mark.parametrize(
    ("answers", "idempotent", "expected"),
    [
        ([400], False, ("failed", 1)),
        ([503, 503, 503], False, ("failed", 3)),
        ([500], False, ("in_doubt", 1)),
        ([503, 500], False, ("in_doubt", 2)),
        ([504], False, ("in_doubt", 1)),
        ([504, 200], True, ("sent", 2)),
        ([504, 503, 503], True, ("in_doubt", 3)),
        ([504, 400], True, ("in_doubt", 2)),
    ],
)
def test_what_may_have_been_sent_is_in_doubt_and_repeated_only_under_a_key_that_is_honoured(
    answers: list[int | Callable[[BaseHTTPRequestHandler], None]],
    idempotent: bool,
    expected: tuple[str, int],
    receiver: Receiver,
) -> None:
    receiver.answers = answers
    done = Time().delivery(a_webhook(receiver.url, idempotent=idempotent)).send([a_message()])
    assert (done.status, done.attempts) == expected


def test_a_receiver_that_acts_and_then_fails_acts_once(receiver: Receiver) -> None:
    effects: list[str] = []

    def act_and_fail(handler: BaseHTTPRequestHandler) -> None:
        effects.append(handler.headers["Idempotency-Key"])
        handler.send_response(500)
        handler.end_headers()

    receiver.answers = [act_and_fail] * 5
    done = Time().delivery(a_webhook(receiver.url), attempts=5).send([a_message()])
    assert (effects, done.status) == (["a1"], "in_doubt")


def test_the_rate_is_kept(receiver: Receiver) -> None:
    clock = Time()
    delivery = clock.delivery(a_webhook(receiver.url), rate=2)
    for n in range(5):
        delivery.send([a_message(n)])
    assert clock.now == pytest.approx(2.0)


def test_a_receiver_that_fails_often_is_left_alone_until_reset(receiver: Receiver) -> None:
    receiver.answers = [500] * BREAK_AFTER
    delivery = Time().delivery(a_webhook(receiver.url), attempts=1)
    for n in range(BREAK_AFTER):
        assert not delivery.is_down
        delivery.send([a_message(n)])
    assert delivery.is_down
    delivery.reset()
    assert not delivery.is_down


# --- configuration -----------------------------------------------------------------------------------------------


def test_channels_are_read_from_a_file_with_defaults() -> None:
    channels = parse_channels(
        parse(
            "sales: {type: webhook, url: 'https://crm.example.com/x', secret: {env: S}, idempotent: true,"
            " in_doubt: retry, rate: 10, timeout: 2s, attempts: 4}\nads: {type: file}\nchat: {type: webhook,"
            " url: 'http://localhost:1/'}",
            "channels.yaml",
        )
    )
    assert channels.of("sales") == ChannelConfig(
        "webhook", "https://crm.example.com/x", SecretReference(env="S"), True, True, 10.0, 4, 2 * SECOND
    )
    assert channels.of("elsewhere") == ChannelConfig("file")
    assert channels.retried_in_doubt(frozenset({"sales", "ads", "chat", "x"})) == {"sales", "ads", "x"}
    assert parse_channels(parse("default: null", "c.yaml")).of("elsewhere") is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x: {type: fax}", "fax"),
        ("x: {type: file, url: 'http://a'}", "unknown key 'url'"),
        ("x: {type: webhook}", "needs 'url'"),
        ("x: {type: webhook, url: 'ftp://a'}", "http or https"),
        ("x: {type: webhook, url: 'http://a:99999'}", "http or https"),
        ("x: {type: webhook, url: 'http://u:p@a/'}", "password"),
        ("x: {type: webhook, url: 'http://a', in_doubt: retry}", "could get it twice"),
        ("x: {type: webhook, url: 'http://a', secret: hunter2}", "mapping"),
        ("x: {type: webhook, url: 'http://a', secret: {}}", "env or file"),
        ("x: {type: file, attempts: 0}", "at least 1"),
        ("'../x': {type: file}", "cannot name a file"),
    ],
)
def test_a_wrong_channel_is_refused_with_its_line(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=r"c\.yaml:2: ") as caught:
        parse_channels(parse(f"# first line\n{text}", "c.yaml"))
    assert complaint in str(caught.value)


def test_a_secret_that_is_missing_is_told_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_SECRET", raising=False)
    channels = parse_channels(
        parse("x: {type: webhook, url: 'http://a', secret: {env: NO_SUCH_SECRET}}", os.fspath(tmp_path / "c.yaml"))
    )
    with pytest.raises(ConfigurationError, match="NO_SUCH_SECRET"):
        channels.preflight()
    (tmp_path / "secret").write_text(" abc\n")
    assert SecretReference(path=os.fspath(tmp_path / "secret")).read() == b"abc"
