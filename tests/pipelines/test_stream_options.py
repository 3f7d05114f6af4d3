"""What `wayline stream` refuses before anything starts, and what it makes of its options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from run_world import NOON, Runs, event, write_events

from contracts.errors import EngineError, InputError, UsageError
from pipelines.commands import stream as command_module
from pipelines.commands.drain import command as drain
from pipelines.commands.stream import command
from pipelines.definitions import load_definitions
from pipelines.stream_plan import (
    DEFAULT_SHARDS,
    StreamOptions,
    StreamPlan,
    drain_file,
    make_stream_plan,
    settled_shards,
    source_of,
)
from sources.files_player import FilesSettings
from transforms.identity.live_step import Bounds as StrandBounds
from transforms.journey.live.keeping import Bounds as JourneyBounds
from transforms.tables.output import writing
from transforms.tables.stream_folder import begin_stream

SUBSCRIPTION = "projects/acme-inc/subscriptions/events"


@pytest.fixture(name="events")
def events_fixture(tmp_path: Path) -> str:
    return str(write_events(tmp_path / "in" / "events.avro", [event(1, "home_view", NOON, {"user_id": "u"})]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "pubsub"], "--source pubsub needs --subscription"),
        (["--source", "files", "--subscription", SUBSCRIPTION], "--subscription goes with --source pubsub"),
        (["--source", "files", "--input", "x", "oops"], "'oops' is no option"),
        (["--source", "files", "--input", "x", "--parallel"], "'--parallel' is no option"),
        (["--source", "kafka"], "'kafka' is not one of"),
        (["--source", "files", "--input", "x", "--rate", "0"], "0.0 is not in the range"),
    ],
)
def test_a_command_line_that_cannot_be_meant_is_refused(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(command, [*arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subscription": SUBSCRIPTION, "inputs": ("x",)}, "are for files"),
        ({"subscription": SUBSCRIPTION, "rate": 5.0}, "are for files"),
        ({"subscription": SUBSCRIPTION, "live": True}, "are for files"),
        ({}, "nothing to stream from"),
        ({"inputs": ("a", "b"), "follow": True}, "follows one folder"),
    ],
)
def test_sources_that_do_not_go_together_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        source_of(StreamOptions(tmp_path, **options), "")


def test_a_followed_folder_has_no_times_to_wait_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--live is for files that are read once"):
        source_of(StreamOptions(tmp_path, (str(tmp_path),), follow=True, live=True), "")


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    for follow in (False, True):
        with pytest.raises(InputError, match="missing"):
            source_of(StreamOptions(tmp_path, (str(tmp_path / "missing"),), follow=follow), "")


def test_what_was_asked_of_files_reaches_the_source(events: str, tmp_path: Path) -> None:
    assert source_of(StreamOptions(tmp_path, (events,), rate=5.0), "d") == FilesSettings((events,), rate=5.0, drain="d")
    folder = str(Path(events).parent)
    assert source_of(StreamOptions(tmp_path, (folder,), follow=True), "d") == FilesSettings(follow=folder, drain="d")


def plan(runs: Runs, events: str, **options: Any) -> StreamPlan:
    asked = StreamOptions(runs.out, (events,), config=runs.config, **options)
    with writing(runs.out) as folder:
        return make_stream_plan(asked, load_definitions(runs.config), folder, 3, NOON)


@pytest.mark.parametrize("shards", [0, 3, 12, -4])
def test_shards_are_a_power_of_two(runs: Runs, events: str, shards: int) -> None:
    asked = StreamOptions(runs.out, (events,), shards=shards)
    with writing(runs.out) as folder, pytest.raises(UsageError, match=f"--state-shards {shards} is no power of two"):
        settled_shards(asked, folder)


def test_a_plan_has_the_shards_that_were_asked_for_and_the_number_of_the_stream(runs: Runs, events: str) -> None:
    made = plan(runs, events, shards=8)
    assert (made.run.strand_shards, made.run.journey_shards, made.run_id) == (8, 8, "stream-000003")


@pytest.mark.parametrize("shards", [1, 4])
def test_all_shards_of_both_stages_together_hold_no_more_than_was_asked_for(shards: int) -> None:
    memory = 24 * 1024 * 1024
    strands, journeys = StrandBounds.of_one_of(shards, memory), JourneyBounds.of_one_of(shards, memory)
    assert shards * (strands.shard_bytes + journeys.shard_bytes + journeys.machine_bytes) == memory
    assert StrandBounds.of_one_of(1) == StrandBounds()
    assert JourneyBounds.of_one_of(1) == JourneyBounds()


def test_the_memory_that_was_asked_for_reaches_the_plan(
    runs: Runs, events: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[StreamOptions] = []
    monkeypatch.setattr(command_module, "run_with_view", lambda _, options, view: asked.append(options))
    monkeypatch.setattr(command_module, "print_report", lambda *_: None)
    arguments = ["--source", "files", "--input", events, "--out", str(runs.out), "--state-memory", "96", "--no-view"]
    command.main(arguments, standalone_mode=False)
    assert asked[0].state_bytes == 96 * 1024 * 1024
    assert plan(runs, events, state_bytes=asked[0].state_bytes).state_bytes == 96 * 1024 * 1024


def test_only_the_direct_runner_does_not_try_bundles_again(runs: Runs, events: str) -> None:
    assert plan(runs, events).retried
    assert not plan(runs, events, runner="DirectRunner").retried


def test_there_is_nothing_to_resume_where_no_stream_was(events: str, tmp_path: Path) -> None:
    arguments = ["--source", "files", "--input", events, "--out", str(tmp_path / "out"), "--resume", "--no-view"]
    with pytest.raises(EngineError, match="holds no checkpoint to go on from"):
        command.main(arguments, standalone_mode=False)


def test_drain_asks_the_last_stream_for_its_end_and_says_so(runs: Runs) -> None:
    with writing(runs.out) as folder:
        nobody = CliRunner().invoke(drain, ["--out", str(runs.out)])
        assert nobody.exit_code == 2
        assert "never had a stream" in nobody.output
        tables = load_definitions(runs.config).tables
        begin_stream(folder, tables)
        number = begin_stream(folder, tables)
    result = CliRunner().invoke(drain, ["--out", str(runs.out)])
    assert result.exit_code == 0
    assert result.output.startswith("asked stream 2 to end")
    assert drain_file(folder, number).exists()
    assert not drain_file(folder, number - 1).exists()


@pytest.mark.parametrize(
    ("options", "shards"),
    [
        ({}, 2),
        ({"parallelism": 2}, 16),
        ({"parallelism": 3}, 32),
        ({"flink_master": "flink:8081"}, 16),
        ({"flink_master": "flink:8081", "parallelism": 8}, 64),
        ({"runner": "DataflowRunner"}, 16),
        ({"shards": 4, "parallelism": 8}, 4),
    ],
)
def test_shards_that_are_not_asked_for_suit_the_engine(tmp_path: Path, options: dict[str, Any], shards: int) -> None:
    with writing(tmp_path / "out") as folder:
        assert settled_shards(StreamOptions(tmp_path / "out", **options), folder).shards == shards


@pytest.mark.parametrize(("before", "by_person", "shards"), [(4, False, 4), (0, True, DEFAULT_SHARDS)])
def test_a_later_stream_takes_its_shards_from_out(tmp_path: Path, before: int, by_person: bool, shards: int) -> None:
    with writing(tmp_path / "out") as folder:
        begin_stream(folder, (), shards=before)
        settled = settled_shards(StreamOptions(tmp_path / "out", parallelism=8), folder)
        assert (settled.by_person, settled.shards) == (by_person, shards)
        with pytest.raises(UsageError, match=f"was streamed with --state-shards {before}"):
            settled_shards(StreamOptions(tmp_path / "out", shards=8), folder)


def test_a_job_on_dataflow_is_refused_naming_all_that_it_lacks(runs: Runs, events: str) -> None:
    with pytest.raises(UsageError) as found:
        plan(runs, events, runner="DataflowRunner", beam=("--project=p", "--temp_location=folder"))
    expected = (
        "--region",
        "--temp_location=gs://",
        "--sdk_container_image",
        "--source pubsub",
        "features.online.redis",
    )
    for lack in (*expected, "notes of erasures"):
        assert lack in found.value.message
    assert "--project" not in found.value.message
    cloud = ("--project=p", "--region=r", "--temp_location=gs://b/t", "--setup_file=./setup.py")
    with pytest.raises(UsageError) as found:
        plan(runs, events, runner="DataflowRunner", beam=cloud)
    lacks = found.value.message.split("it lacks ")[1]
    assert lacks.startswith("a source that its workers reach (--source pubsub), online features that its workers reach")
