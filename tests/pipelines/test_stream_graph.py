"""The streaming graph, built and not run: who encodes what crosses it, names that must not change, and Dataflow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import bigquery_connector
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.dataflow.internal.apiclient import dataflow
from graph_parts import PRIMITIVE, assert_labels, encoded_by, labels_of, pickling
from run_world import NOON, event, write_events

from benchmarks.postgres_server import PostgresServer
from contracts import coders, exchange
from pipelines.definitions import load_definitions
from pipelines.engine import engine_options
from pipelines.stream_check import check_stream
from pipelines.stream_graph import build
from pipelines.stream_plan import StreamOptions, StreamPlan, make_stream_plan
from pipelines.table_sink import DATAFLOW
from sources.pubsub import client
from sources.pubsub.puller import PubSubSettings
from transforms.tables.output import writing

SUBSCRIPTION = "projects/wayline-trial/subscriptions/events"
LABELS = {
    name: Path(__file__).with_name(f"stream_labels_{name}.txt") for name in ("files", "pubsub", "bigquery", "dataflow")
}
CLOUD = (
    "--project=wayline-trial",
    "--region=europe-west1",
    "--temp_location=gs://wayline-trial/temp",
    "--no_auth",
    "--sdk_location=container",
    "--dry_run=True",
)
BEAM_OWN = ("/Stream/", "/Pull/", "/Messages/", "BigQuery/Upserts/")
"""Inside Beam's own sources, where what tells apart their parts travels, and before its connector, which takes rows."""
MAIN_OUTPUT = "/Fold/Actor/ParDo(_ActorFn)"
"""The actor's main output, by which nothing goes: all of it is tagged."""


def asked(root: Path, name: str, connector: str, store: str) -> StreamOptions:
    """What a user asks for a stream of that kind."""
    events = write_events(root / "events.avro", [event(1, "home_view", NOON, {"user_id": "u"})])
    given = StreamOptions(root / "out", inputs=(str(events),))
    if name in ("bigquery", "dataflow"):
        given = replace(
            given, tables="bigquery", bigquery_dataset="wayline-trial.wayline", bigquery_connector=connector
        )
    if name == "dataflow":
        (root / "store_url").write_text(store, encoding="utf-8")
        config = root / "wayline.yaml"
        config.write_text(f"store: {{postgres: {{file: {root / 'store_url'}}}}}\n", encoding="utf-8")
        given = replace(given, runner=DATAFLOW, config=config, beam=CLOUD)
    return given


def made(root: Path, name: str, store: str) -> tuple[beam.Pipeline, StreamPlan]:
    """The graph of a stream of that kind; ``store`` is the URL of a database, which Dataflow needs."""
    with bigquery_connector.connector() as connector:
        given = asked(root, name, connector, store)
        with writing(root / "out") as folder:
            plan = make_stream_plan(given, load_definitions(given.config), folder, 1, NOON)
        if name != "files":
            plan = replace(plan, source=PubSubSettings(SUBSCRIPTION, None, drain=plan.drain))
        if name == "dataflow":
            options = engine_options(DATAFLOW, 1, ("--streaming", *CLOUD))
        else:
            options = PipelineOptions(["--runner=FnApiRunner", "--streaming", "--no_save_main_session"])
        pipeline = beam.Pipeline(options=options)
        build(pipeline, plan)
    return pipeline, plan


@pytest.fixture(scope="module", params=sorted(LABELS))
def graph(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, beam.Pipeline]:
    """Name of the kind, and the graph."""
    name = request.param
    store = request.getfixturevalue("postgres_server").make_schema() if name == "dataflow" else ""
    return name, made(tmp_path_factory.mktemp("graph"), name, store)[0]


@pytest.fixture(scope="module")
def encoded(graph: tuple[str, beam.Pipeline]) -> dict[str, set[type[Any]]]:
    """Each PCollection that some transform takes in, with the classes of its coder's leaves."""
    return encoded_by(graph[1])


def test_every_element_between_two_stages_of_a_stream_has_a_stated_coder(encoded: dict[str, set[type[Any]]]) -> None:
    stated = {*coders.CODERS.values(), *PRIMITIVE}
    assert len(encoded) > 30
    assert not {
        name: sorted(kind.__name__ for kind in kinds - stated)
        for name, kinds in encoded.items()
        if kinds - stated and not any(part in name for part in (*BEAM_OWN, MAIN_OUTPUT))
    }


def test_nothing_of_a_stream_is_pickled_between_stages(encoded: dict[str, set[type[Any]]]) -> None:
    assert not {name for name in pickling(encoded) if not any(part in name for part in BEAM_OWN)}


def test_every_contract_class_of_a_stream_is_seen_with_its_own_coder(encoded: dict[str, set[type[Any]]]) -> None:
    seen = set().union(*encoded.values())
    for kind in (
        exchange.Received,
        exchange.StatedRows,
        exchange.DeadLetter,
        exchange.LedgerCount,
        exchange.Decision,
        exchange.Action,
        exchange.OnlineFeatures,
        exchange.Purge,
        exchange.ShardInput,
        exchange.RejectedElement,
    ):
        assert coders.CODERS[kind] in seen, kind.__name__


def test_labels_of_a_stream_are_those_of_the_last_release(graph: tuple[str, beam.Pipeline]) -> None:
    name, pipeline = graph
    assert_labels(pipeline, LABELS[name])


def test_what_works_on_journeys_has_a_worker_process_of_its_own_on_flink(tmp_path: Path) -> None:
    """Flink gives another environment another process: all up to what groups is in one, else an element goes twice."""
    work = environments(made(tmp_path, "files", "")[0])
    apart = {name for name, environment in work.items() if environment == work["Journey/Fold/Actor/ParDo(_ActorFn)"]}
    assert apart == {
        "Journey/Fold/Actor/ParDo(_ActorFn)",
        "Journey/Metrics",
        "Journey/ToWriter",
        "Act/Perform/ParDo(_ActFn)",
        "ActionRows/State",
        "Online",
        "Tables/JourneyPanes",
    }
    assert len(set(work.values())) == 2


def test_no_stage_asks_dataflow_for_workers_of_its_own(tmp_path: Path, postgres_server: PostgresServer) -> None:
    pipeline, _ = made(tmp_path, "dataflow", postgres_server.make_schema())
    assert not any(kind.resource_hints for kind in pipeline.to_runner_api().components.environments.values())


def environments(pipeline: beam.Pipeline) -> dict[str, str]:
    """The environment of each transform that Python works on."""
    transforms = pipeline.to_runner_api().components.transforms.values()
    return {
        transform.unique_name: transform.environment_id
        for transform in transforms
        if transform.environment_id and not transform.subtransforms and "flatten" not in transform.spec.urn
    }


def test_no_label_of_a_stream_depends_on_a_lambda_or_a_line(graph: tuple[str, beam.Pipeline]) -> None:
    assert not [label for label in labels_of(graph[1]) if "lambda" in label or ".py" in label]


def test_the_streaming_job_is_built_for_dataflow_without_a_network(
    tmp_path: Path, postgres_server: PostgresServer, pubsub_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, subscription = pubsub_server.names()
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_server.endpoint)
    client.create(topic, subscription, pubsub_server.endpoint)
    with bigquery_connector.connector() as connector:
        given = asked(tmp_path, "dataflow", connector, postgres_server.make_schema())
        result = check_stream(replace(given, inputs=(), subscription=subscription))
    assert result.job.proto.type == dataflow.JobType.JOB_TYPE_STREAMING
    assert bigquery_connector.StandIn.asked.keys() >= {
        "wayline-trial:wayline.events_rows",
        "wayline-trial:wayline.log_rows",
    }
    assert not (tmp_path / "out" / "streams" / "number.json").exists(), "no stream was begun"
