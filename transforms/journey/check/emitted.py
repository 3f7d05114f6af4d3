"""What the sources emit, as far as anybody has seen: event names and pages, in the words of an ontology.

Input: (event name, path, how often) of events that were really seen, whoever counted them. Output: ``Emitted``. Errors,
state: none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from transforms.journey.ontology import Ontology

Seen = tuple[str, str | None, int]
"""An event's name, the path of its page or None, and how often it was seen."""


_MOST_UNKNOWN = 10_000
OTHERS = "(other names)"
"""Under which unknown names beyond ten thousand are counted together: names that hold ids do not fill the memory."""


@dataclass(frozen=True, slots=True)
class Emitted:
    """What sources emit.

    Attributes:
        where: what was looked at, for readers.
        events: how many.
        behaviours: behaviour to the number of events that show it.
        unknown: event name that the ontology does not name, to their number.
    """

    where: str
    events: int
    behaviours: Mapping[str, int]
    unknown: Mapping[str, int]


class Emitting:
    """Collects what sources emit, in bounded memory, however many events, pages and names there are."""

    def __init__(self, ontology: Ontology) -> None:
        self._ontology = ontology
        self._events = 0
        self._behaviours, self._unknown = Counter[str](), Counter[str]()

    def add(self, name: str, path: str | None, times: int = 1) -> None:
        """Something that was seen, and how often."""
        self._events += times
        meaning = self._ontology.meaning(name, path)
        for behaviour in meaning.behaviours:
            self._behaviours[behaviour] += times
        if not meaning.known:
            self._unknown[name if name in self._unknown or len(self._unknown) < _MOST_UNKNOWN else OTHERS] += times

    def result(self, where: str) -> Emitted:
        """What was seen so far; ``where``: what was looked at."""
        return Emitted(where, self._events, dict(self._behaviours), dict(self._unknown))


def emitted(ontology: Ontology, where: str, seen: Iterable[Seen]) -> Emitted:
    """What was seen, as the ontology reads it."""
    collected = Emitting(ontology)
    for name, path, times in seen:
        collected.add(name, path, times)
    return collected.result(where)
