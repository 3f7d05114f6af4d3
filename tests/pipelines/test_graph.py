"""The built graph: who encodes what crosses it, and names that must not change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam import coders as beam_coders
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from apache_beam.runners import pipeline_context
from run_world import NOON, event, write_events

from contracts import coders, exchange
from contracts.event import Event
from pipelines.definitions import load_definitions
from pipelines.graph import build
from pipelines.plan import RunOptions, make_plan
from transforms.tables.output import writing

LABELS = Path(__file__).with_name("labels.txt")

PRIMITIVE = (
    beam_coders.BytesCoder,
    beam_coders.StrUtf8Coder,
    beam_coders.VarIntCoder,
    beam_coders.BooleanCoder,
    beam_coders.FloatCoder,
)
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
    components = pipeline.to_runner_api().components
    context = pipeline_context.PipelineContext(components)
    consumed = {
        collection
        for transform in components.transforms.values()
        if not transform.subtransforms
        for collection in transform.inputs.values()
    }
    producer = {
        collection: transform.unique_name
        for transform in components.transforms.values()
        if not transform.subtransforms
        for collection in transform.outputs.values()
    }
    return {
        f"{producer[name]} ({name})": set(_leaves(context.coders.get_by_id(components.pcollections[name].coder_id)))
        for name in consumed
    }


def _leaves(coder: Any) -> Iterator[type[Any]]:
    inner = [getattr(coder, name) for name in ("_elem_coder", "_value_coder") if hasattr(coder, name)]
    inner = inner or list(getattr(coder, "_coders", ()))
    if not inner:
        yield type(coder)
    for part in inner:
        yield from _leaves(part)


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
    pickling = {
        f"{name}: {kind.__name__}"
        for name, kinds in encoded.items()
        for kind in kinds
        if issubclass(kind, beam_coders.PickleCoder | beam_coders.DillCoder | beam_coders.CloudpickleCoder)
    }
    assert not pickling


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
        exchange.TableBatch,
    ):
        assert coders.CODERS[kind] in seen, kind.__name__


@pytest.mark.parametrize("kind", coders.CODERS, ids=lambda kind: kind.__name__)
def test_a_contract_class_resolves_to_its_own_coder(kind: type[Any]) -> None:
    assert type(beam_coders.registry.get_coder(kind)) is coders.CODERS[kind]
    assert kind is not Event, "events travel inside their batches, encoded"


class _Labels(PipelineVisitor):  # type: ignore[misc]  # Beam's base class is untyped
    """Full labels of our own transforms and of what we apply, without the insides of Beam's."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def enter_composite_transform(self, node: AppliedPTransform) -> None:
        self.visit_transform(node)

    def visit_transform(self, node: AppliedPTransform) -> None:
        parent = node.parent
        inside = parent is not None and parent.transform is not None
        if node.full_label and not (inside and _is_beams(parent)):
            self.found.append(node.full_label)


def _is_beams(node: AppliedPTransform) -> bool:
    while node is not None and node.transform is not None:
        if type(node.transform).__module__.startswith("apache_beam"):
            return True
        node = node.parent
    return False


def test_labels_are_those_of_the_last_release(pipeline: beam.Pipeline) -> None:
    visitor = _Labels()
    pipeline.visit(visitor)
    found = sorted(set(visitor.found))
    known = LABELS.read_text(encoding="utf-8").splitlines()
    assert found == known, (
        "the labels of transforms changed: a running job is updated (--update) by its labels, and one that is gone or "
        "renamed loses its state. Give the old name back; or, if the change is meant, write it into CHANGELOG.md as a "
        f"state break with its --transform_name_mapping, and these into tests/pipelines/labels.txt:\n"
        f"gone: {sorted(set(known) - set(found))}\nnew: {sorted(set(found) - set(known))}"
    )


def test_no_label_depends_on_a_lambda_or_a_line(pipeline: beam.Pipeline) -> None:
    visitor = _Labels()
    pipeline.visit(visitor)
    assert not [label for label in visitor.found if "lambda" in label or ".py" in label]
