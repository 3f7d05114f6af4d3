"""The feature functions as the journey sees them: a port, so that the fold knows no feature by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self

from contracts.event import Event


class Features(Protocol):
    """The accumulator that the feature functions use; ``features.state.FeatureState``."""

    def observe(
        self,
        event: Event,
        behaviours: tuple[str, ...],
        new_session: bool,
        activity: bool = True,
        *,
        value: float | None = None,
    ) -> None:
        """Take in the next event."""

    def fork(self) -> Self:
        """Another that goes on from here by itself."""


@dataclass(frozen=True)
class FeatureFunctions:
    """The features, injected: their names, a fresh accumulator, and the vector as of a moment.

    ``next_turn``: (accumulator, moment, names of features) to the first instant after the moment at which one of them
    can change without an event. Needed where conditions look at features.
    """

    names: tuple[str, ...]
    start: Callable[[], Features]
    vector: Callable[[Any, int], tuple[float, ...]]
    next_turn: Callable[[Any, int, tuple[str, ...]], int | None] | None = None
