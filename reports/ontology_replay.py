"""Two ontologies over one history: who stands where under each, and how often they moved. Nothing is written.

Input: ``History`` and two ontologies. Output: ``OntologyDifference``. Both sides are folded by the pipeline's own fold
up to one horizon, by rules alone: a model was trained on the stages of one ontology and says nothing of another's.
Times: UTC microseconds of event time. Errors: none. State: none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reports.history import History
from transforms.journey.fold import JourneyFold
from transforms.journey.functions import FUNCTIONS
from transforms.journey.ontology import Ontology
from transforms.journey.path import StagePath, StagePaths


@dataclass(frozen=True, slots=True)
class Example:
    """One person whose stage differs: ``why_a`` and ``why_b`` are the reasons of the latest transitions."""

    person: str
    events: int
    why_a: str
    why_b: str


@dataclass(frozen=True, slots=True)
class Cell:
    """Persons in stage ``a`` under A and in stage ``b`` under B."""

    a: str
    b: str
    persons: int
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Side:
    """What one ontology makes of the history.

    ``persons``: stage to the number of persons in it at the horizon, all stages in their order. ``transitions``: stage
    to the number of transitions into it, first ones included.
    """

    version: str
    persons: Mapping[str, int]
    transitions: Mapping[str, int]

    @property
    def moves(self) -> int:
        """All transitions."""
        return sum(self.transitions.values())


@dataclass(frozen=True, slots=True)
class OntologyDifference:
    """Two ontologies over one history.

    Attributes:
        a, b: the two sides.
        cells: in the order of A's stages, then of B's; those with persons only.
        persons, events, horizon, left_out: of the history.
        same_way: persons with equal transitions: the same stages at the same instants.
        more, fewer: persons with more, and with fewer, transitions under B.
    """

    a: Side
    b: Side
    cells: tuple[Cell, ...]
    persons: int
    events: int
    horizon: int
    left_out: int
    same_way: int
    more: int
    fewer: int

    @property
    def moved(self) -> int:
        """Persons whose stage has another name under B."""
        return sum(cell.persons for cell in self.cells if cell.a != cell.b)


class _Folding:
    """One ontology at work."""

    def __init__(self, ontology: Ontology, horizon: int) -> None:
        self.ontology = ontology
        self._fold = JourneyFold(ontology, FUNCTIONS)
        self._paths = StagePaths(ontology, FUNCTIONS)
        self._horizon = horizon
        self.persons = Counter[str]()
        self.transitions = Counter[str]()

    def path(self, person: str, history: History) -> StagePath:
        path = self._paths.stage_path(self._fold.trace(person, history.of(person), self._horizon))
        self.persons[self.ontology.stage_names[path.standing.stage]] += 1
        self.transitions.update(transition.to_stage for transition in path.transitions)
        return path

    def side(self) -> Side:
        names = self.ontology.stage_names
        return Side(
            self.ontology.version,
            {name: self.persons[name] for name in names},
            {name: self.transitions[name] for name in names},
        )


def replay(
    history: History, a: Ontology, b: Ontology, examples: int = 2, told: Callable[[int], None] = lambda _: None
) -> OntologyDifference:
    """Fold everybody under both.

    Args:
        history: whose journeys.
        a, b: the ontologies.
        examples: persons to name for each pair of unlike stages; those with the fewest events, which are read fastest.
        told: is called with the number of persons done, now and then.
    """
    sides = _Folding(a, history.horizon), _Folding(b, history.horizon)
    counts = Counter[tuple[int, int]]()
    named: dict[tuple[int, int], list[tuple[int, str, StagePath, StagePath]]] = {}
    same_way = more = fewer = 0
    for done, person in enumerate(history.persons):
        if done % 1_000 == 0:
            told(done)
        path_a, path_b = (side.path(person, history) for side in sides)
        key = path_a.standing.stage, path_b.standing.stage
        counts[key] += 1
        moves_a, moves_b = ([(t.to_stage, t.at) for t in path.transitions] for path in (path_a, path_b))
        same_way += moves_a == moves_b
        more += len(moves_b) > len(moves_a)
        fewer += len(moves_b) < len(moves_a)
        if examples and a.stage_names[key[0]] != b.stage_names[key[1]]:
            kept = named.setdefault(key, [])
            kept.append((len(history.persons[person]), person, path_a, path_b))
            kept.sort(key=lambda item: item[:2])
            del kept[examples:]
    cells = tuple(
        Cell(
            a.stage_names[one],
            b.stage_names[other],
            persons,
            tuple(
                Example(person, events, path_a.transitions[-1].reason, path_b.transitions[-1].reason)
                for events, person, path_a, path_b in named.get((one, other), ())
            ),
        )
        for (one, other), persons in sorted(counts.items())
    )
    return OntologyDifference(
        sides[0].side(),
        sides[1].side(),
        cells,
        len(history.persons),
        history.events,
        history.horizon,
        history.left_out,
        same_way,
        more,
        fewer,
    )
