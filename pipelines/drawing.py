"""The graph as a picture: Mermaid text of a built pipeline, one box a stage. Nothing is run.

Input: a Beam pipeline. Output: text that starts with ``flowchart``. The boxes are the transforms directly below the
root, which are the stages of ``graph`` and ``stream_graph``; an arrow says that what one gives another takes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import apache_beam as beam


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
    lines = ["flowchart LR", *(f"  {_id(name)}[{name}]" for name in stages)]
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
