"""Beam's options, parsed once.

Beam asks its options for a view (``view_as``) some hundreds of times while it builds a graph, and each time makes a
parser of command lines and parses the flags anew: a sixth of the CPU of a small run. Views share their values, so one
of each kind is enough.
"""

from __future__ import annotations

from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

_VIEWS = "_views"


class ParsedOptions(PipelineOptions):  # type: ignore[misc]  # Beam's base class is untyped
    """``PipelineOptions`` that keep their views. What is set on one shows on all, as on Beam's own."""

    def view_as(self, cls: type[Any]) -> Any:
        """The view of these options as CLS."""
        views = self.__dict__.setdefault(_VIEWS, {})
        if cls not in views:
            views[cls] = super().view_as(cls)
        return views[cls]

    def __getstate__(self) -> Any:
        """A copy makes views of its own, which share its values."""
        return {name: value for name, value in super().__getstate__().items() if name != _VIEWS}
