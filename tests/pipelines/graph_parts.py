"""Looking into a built graph: the coders of what crosses it, and the labels of its transforms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam import coders as beam_coders
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from apache_beam.runners import pipeline_context

PRIMITIVE = (
    beam_coders.BytesCoder,
    beam_coders.StrUtf8Coder,
    beam_coders.VarIntCoder,
    beam_coders.BooleanCoder,
    beam_coders.FloatCoder,
)

PICKLING = (beam_coders.PickleCoder, beam_coders.DillCoder, beam_coders.CloudpickleCoder)


def encoded_by(pipeline: beam.Pipeline) -> dict[str, set[type[Any]]]:
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


def pickling(encoded: dict[str, set[type[Any]]]) -> set[str]:
    """What would be pickled on its way."""
    return {
        f"{name}: {kind.__name__}" for name, kinds in encoded.items() for kind in kinds if issubclass(kind, PICKLING)
    }


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


def labels_of(pipeline: beam.Pipeline) -> list[str]:
    """Sorted full labels, without the insides of Beam's transforms."""
    visitor = _Labels()
    pipeline.visit(visitor)
    return sorted(set(visitor.found))


def assert_labels(pipeline: beam.Pipeline, kept: Path) -> None:
    """Labels are those that the file keeps."""
    found, known = labels_of(pipeline), kept.read_text(encoding="utf-8").splitlines()
    assert found == known, (
        "the labels of transforms changed: a running job is updated (--update) by its labels, and one that is gone or "
        "renamed loses its state. Give the old name back; or, if the change is meant, write it into CHANGELOG.md as a "
        f"state break with its --transform_name_mapping, and these into tests/pipelines/{kept.name}:\n"
        f"gone: {sorted(set(known) - set(found))}\nnew: {sorted(set(found) - set(known))}"
    )
