"""The graph as a picture: Mermaid text of a built pipeline, one box a stage. Nothing is run.

Input: a Beam pipeline. Output: text that starts with ``flowchart``. The boxes are the transforms directly below the
root, which are the stages of ``graph`` and ``stream_graph``; an arrow says that what one gives another takes. Where
collections are only flattened there is no box.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apache_beam as beam

from pipelines.definitions import Definitions, load_definitions
from transforms.tables.output import OutputFolder, writing

_NEVER = 0
"""A clock for a graph that does not run."""


def bounded() -> beam.Pipeline:
    """The graph of ``wayline run`` by the shipped configuration."""
    from pipelines.graph import build
    from pipelines.plan import make_plan
    from pipelines.run_options import RunOptions

    pipeline = _pipeline()
    with _nowhere() as (folder, definitions):
        build(pipeline, make_plan(RunOptions((), folder.root, now=_NEVER), definitions, folder, []))
    return pipeline


def streaming() -> beam.Pipeline:
    """The graph of ``wayline stream`` by the shipped configuration, over a folder that is followed."""
    from pipelines.stream_graph import build
    from pipelines.stream_plan import StreamOptions, make_stream_plan

    pipeline = _pipeline()
    with _nowhere() as (folder, definitions):
        options = StreamOptions(folder.root, (str(folder.root),), follow=True)
        build(pipeline, make_stream_plan(options, definitions, folder, 1, _NEVER))
    return pipeline


def _pipeline() -> beam.Pipeline:
    from pipelines.beam_options import ParsedOptions

    return beam.Pipeline(options=ParsedOptions(["--no_save_main_session"]))


@contextmanager
def _nowhere() -> Iterator[tuple[OutputFolder, Definitions]]:
    """An output folder that is gone when the graph is built: a plan needs one."""
    with tempfile.TemporaryDirectory(prefix="wayline-graph-") as place, writing(Path(place) / "out") as folder:
        yield folder, load_definitions(None, None)


def mermaid(pipeline: beam.Pipeline) -> str:
    """A picture of a pipeline, the same for the same graph."""
    proto = pipeline.to_runner_api()
    components = proto.components
    (root,) = (components.transforms[name] for name in proto.root_transform_ids)
    stages = {
        components.transforms[child].unique_name: components.transforms[child]
        for child in root.subtransforms
        if not _is_joint(components.transforms[child])
    }
    makers = {made: name for name, stage in stages.items() for made in stage.outputs.values()}
    joints = {
        made: tuple(one.inputs.values())
        for child in root.subtransforms
        if _is_joint(one := components.transforms[child])
        for made in one.outputs.values()
    }
    arrows = sorted(
        {
            (source, name)
            for name, stage in stages.items()
            for taken in stage.inputs.values()
            for source in _sources(taken, makers, joints)
            if source != name
        },
        key=lambda arrow: (list(stages).index(arrow[0]), list(stages).index(arrow[1])),
    )
    lines = ["flowchart LR", *(f"  {_id(name)}[{_text(name)}]" for name in stages)]
    lines += [f"  {_id(source)} --> {_id(target)}" for source, target in arrows]
    return "\n".join(lines) + "\n"


def _is_joint(transform: Any) -> bool:
    return bool(transform.spec.urn == "beam:transform:flatten:v1")


def _sources(collection: str, makers: Mapping[str, str], joints: Mapping[str, tuple[str, ...]]) -> set[str]:
    """The stages behind a collection, through whatever only flattens."""
    if collection in makers:
        return {makers[collection]}
    return {source for one in joints.get(collection, ()) for source in _sources(one, makers, joints)}


def _id(name: str) -> str:
    return re.sub(r"\W", "_", name)


def _text(name: str) -> str:
    return name if name.isalnum() else f'"{name}"'
