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


def emitted(ontology: Ontology, where: str, seen: Iterable[Seen]) -> Emitted:
    """What was seen, as the ontology reads it."""
    events = 0
    behaviours, unknown = Counter[str](), Counter[str]()
    for name, path, times in seen:
        events += times
        meaning = ontology.meaning(name, path)
        for behaviour in meaning.behaviours:
            behaviours[behaviour] += times
        if not meaning.known:
            unknown[name] += times
    return Emitted(where, events, dict(behaviours), dict(unknown))
