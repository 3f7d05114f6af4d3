"""A whole stream on the direct runner, and what its live view shows of it."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from rich.console import Console
from run_world import DAY, HOUR, MINUTE, Runs, event, write_events

from contracts.errors import OutputError
from pipelines.commands.stream import print_report, run_with_view
from pipelines.definitions import load_definitions
from pipelines.stream import StreamReport
from pipelines.stream_plan import StreamOptions
from pipelines.stream_view import StreamView
from reports.live import Snapshot, look, picture

NOW = time.time_ns() // 1_000 - HOUR
ANN, BOB = {"anonymous_id": "a", "user_id": "ann"}, {"anonymous_id": "b"}
CONSENT = {"consent": {"email": True, "ads": True, "sales": True, "marketing": True}}


@dataclass(frozen=True)
class Streamed:
    """A stream that has ended: its folder, its report, what it printed."""

    runs: Runs
    report: StreamReport
    printed: str


@pytest.fixture(scope="module")
def streamed(make_runs: Callable[[str], Runs]) -> Streamed:
    runs = make_runs("streamed")
    names = ("home_view", "product_view", "pricing_view", "add_to_cart", "checkout_start")
    events = [event(n, name, NOW + n * MINUTE, ANN, **CONSENT) for n, name in enumerate(names)]
    events += [event(0, "home_view", NOW, ANN, **CONSENT), event(9, "product_view", NOW + MINUTE, BOB)]
    events += [event(10, "home_view", NOW - 9 * DAY, BOB, received_time=NOW), event(11, "", NOW, BOB)]
    path = write_events(runs.root / "in" / "events.avro", events)
    options = StreamOptions(runs.out, (str(path),), runner="DirectRunner", config=runs.config, shards=1)
    console = Console(file=io.StringIO(), width=140)
    report = run_with_view(console, options, view=False)
    print_report(console, runs.out, report)
    assert isinstance(console.file, io.StringIO)
    return Streamed(runs, report, console.file.getvalue())


def seen(runs: Runs) -> Snapshot:
    definitions = load_definitions(runs.config)
    return look(runs.out, definitions.tables, definitions.ontology.stage_names)


def drawn(snapshot: Snapshot, seconds: float = 12.0) -> str:
    console = Console(file=io.StringIO(), width=140)
    console.print(picture(snapshot, 200.0, seconds))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_stream_says_what_it_does_and_what_became_of_every_event(streamed: Streamed) -> None:
    told = re.findall(r"wayline stream: (.*)", streamed.printed)
    assert told[0] == "checking"
    assert told[-1] == "finishing the tables"
    assert "the ledger balances; the source ended after" in streamed.printed
    total = streamed.report.total
    assert (total.received, total.accepted, total.duplicate) == (9, 6, 1)
    assert (total.dead_lettered, total.expired_late) == (1, 1)


def test_the_view_counts_what_the_ledger_counts(streamed: Streamed) -> None:
    snapshot = seen(streamed.runs)
    assert snapshot.run_id == streamed.report.run_id == "stream-000001"
    assert snapshot.received == 9
    assert snapshot.fates == {"accepted": 6, "duplicate": 1, "dead_lettered": 1, "expired_late": 1, "erased": 0}
    assert snapshot.under_way == 0


def test_the_view_has_every_stage_with_its_people_and_what_was_decided(streamed: Streamed) -> None:
    snapshot = seen(streamed.runs)
    stages = streamed.runs.query("SELECT stage, count(*) FROM journeys GROUP BY stage")
    assert {stage: count for stage, count in snapshot.stages if count} == dict(stages)
    assert [stage for stage, _ in snapshot.stages] == list(load_definitions(streamed.runs.config).ontology.stage_names)
    others = look(streamed.runs.out, load_definitions(streamed.runs.config).tables, ("elsewhere",)).stages
    assert dict(others) == {"elsewhere": 0, **dict(stages)}, "stages activated meanwhile are shown too"
    decided = streamed.runs.query("SELECT chosen, count(*) FROM decisions WHERE chosen <> 'nothing' GROUP BY chosen")
    assert decided
    assert dict(snapshot.chosen) == dict(decided)
    assert {decision.chosen for decision in snapshot.decisions} <= dict(decided).keys()
    assert all(decision.status and decision.reason for decision in snapshot.decisions)


def test_latency_is_from_the_event_to_the_statement_of_its_action(streamed: Streamed) -> None:
    latency = seen(streamed.runs).latency
    assert latency is not None
    # the events of this test happened up to an hour before the stream began
    assert 50 * 60 < latency[0] <= latency[1] <= latency[2] < 2 * 3_600


def test_the_picture_says_it_in_words(streamed: Streamed) -> None:
    text = drawn(seen(streamed.runs))
    assert "stream-000001   12 s   200 events/s   decided after an event: p50" in text
    assert "received 9: 6 accepted, 1 duplicate, 1 dead lettered, 1 expired late; under way 0" in text
    for word in ("people by stage", "decided so far", "last decisions", "because", *dict(seen(streamed.runs).chosen)):
        assert word in text


def test_before_the_first_row_the_picture_says_that_the_engine_starts() -> None:
    assert drawn(Snapshot("", 0, {}, (), (), (), None), 7.0) == "the engine is starting; 7 s\n"


def test_a_stream_that_decided_nothing_has_no_empty_tables() -> None:
    text = drawn(Snapshot("stream-000001", 0, {"accepted": 0}, (("discovery", 0),), (), (), None))
    assert "received 0: nothing yet; under way 0" in text
    assert "last decisions" not in text
    assert "decided so far" not in text


def test_a_folder_that_cannot_be_looked_at_is_named(streamed: Streamed) -> None:
    missing = streamed.runs.root / "missing"
    with pytest.raises(OutputError, match="missing"):
        look(missing, load_definitions(streamed.runs.config).tables, ())


def test_the_live_view_draws_while_the_stream_runs_and_says_what_is_done(streamed: Streamed) -> None:
    out = io.StringIO()
    console = Console(file=out, width=140, force_terminal=True)
    with StreamView(console, StreamOptions(streamed.runs.out, config=streamed.runs.config)) as view:
        view.tell("running")
        deadline = time.monotonic() + 60
        while "received 9: 6 accepted" not in out.getvalue() and time.monotonic() < deadline:
            time.sleep(0.05)
        view.tell("draining")
    assert "received 9: 6 accepted" in out.getvalue()
    assert "wayline stream: draining" in out.getvalue()
