"""The built graph: who encodes what crosses it, and names that must not change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam import coders as beam_coders
from apache_beam.options.pipeline_options import PipelineOptions
from graph_parts import PRIMITIVE, assert_labels, encoded_by, labels_of, pickling
from run_world import NOON, event, write_events

from contracts import coders, exchange
from contracts.event import Event
from pipelines.definitions import load_definitions
from pipelines.graph import build
from pipelines.plan import make_plan
from pipelines.run_options import RunOptions
from transforms.tables.output import writing

LABELS = Path(__file__).with_name("labels.txt")

BEAM_OWN = ("Read/Spread/", "Stored/Spread/", "Ledger/", "DecisionLedger/", "Horizon/Latest/")
"""Inside Beam's own Reshuffle, Create and combiners, where a handful of numbers, texts and None travel."""


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> beam.Pipeline:
    """The graph of a run, built and not run."""
    root = tmp_path_factory.mktemp("graph")
    events = write_events(root / "events.avro", [event(1, "home_view", NOON, {"user_id": "u"})])
    made = beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner", "--no_save_main_session"]))
    definitions = load_definitions(None)
    with writing(root / "out") as folder:
        build(made, make_plan(RunOptions((str(events),), root / "out"), definitions, folder, [str(events)]))
    return made


@pytest.fixture(scope="module")
def encoded(pipeline: beam.Pipeline) -> dict[str, set[type[Any]]]:
    """Each PCollection that some transform takes in, with the classes of its coder's leaves."""
    return encoded_by(pipeline)


def test_every_element_between_two_stages_has_a_stated_coder(encoded: dict[str, set[type[Any]]]) -> None:
    ours = set(coders.CODERS.values())
    assert len(encoded) > 40
    unstated = {
        name: sorted(kind.__name__ for kind in kinds - ours - set(PRIMITIVE))
        for name, kinds in encoded.items()
        if not name.startswith(BEAM_OWN) and not kinds <= ours | set(PRIMITIVE)
    }
    assert not {name: kinds for name, kinds in unstated.items() if "/Files/" not in name and "/Parts/" not in name}


def test_nothing_is_pickled(encoded: dict[str, set[type[Any]]]) -> None:
    assert not pickling(encoded)


def test_every_contract_class_of_the_graph_is_seen_with_its_own_coder(encoded: dict[str, set[type[Any]]]) -> None:
    seen = set().union(*encoded.values())
    for kind in (
        exchange.Received,
        exchange.ShardInput,
        exchange.Link,
        exchange.LinkBatch,
        exchange.StrandBatch,
        exchange.DeadLetter,
        exchange.LedgerCount,
        exchange.Decision,
        exchange.Action,
        exchange.LearnInput,
        exchange.Label,
        exchange.OnlineFeatures,
        exchange.TableFile,
    ):
        assert coders.CODERS[kind] in seen, kind.__name__


@pytest.mark.parametrize("kind", coders.CODERS, ids=lambda kind: kind.__name__)
def test_a_contract_class_resolves_to_its_own_coder(kind: type[Any]) -> None:
    assert type(beam_coders.registry.get_coder(kind)) is coders.CODERS[kind]
    assert kind is not Event, "events travel inside their batches, encoded"


def test_labels_are_those_of_the_last_release(pipeline: beam.Pipeline) -> None:
    assert_labels(pipeline, LABELS)


def test_no_label_depends_on_a_lambda_or_a_line(pipeline: beam.Pipeline) -> None:
    assert not [label for label in labels_of(pipeline) if "lambda" in label or ".py" in label]
