"""The ontology: what stages there are, what shows them, and what events mean. Read from a YAML file by business people.

Purpose: ``load_ontology`` reads and checks the file, ``Ontology`` answers. Input: the file. Output: frozen definitions
with a version (``name@hash`` of the content, comments aside). Units: times in microseconds, weights without unit.
Errors: ``ConfigurationError`` with file and line. State: none but caches; an ontology is pickled as its text.

A stage is entered when its intent score reaches ``entry.intent`` and its condition ``entry.when`` holds, and kept while
the score stays at or above ``entry.intent * (1 - hysteresis.margin)`` and neither ``exit.when`` nor ``exit.by`` nor
``exit.after`` ends it; a terminal stage is left by its ``reentry`` alone. ``stages.py`` states the whole rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

from transforms.conditions import Condition
from transforms.journey.behaviours import BehaviourTable, Meaning, Meanings, fold_name
from transforms.journey.facts import counters_of
from transforms.journey.session_rule import SessionRule

MAX_STAGES = 7
SIGNALS_PER_STAGE = (3, 5)

ENDED = -(2**62)
"""Instead of when a stage was last started anew: a behaviour of its ``by`` came since, and ended it."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One thing that shows a stage.

    Attributes:
        number: place among all signals of the ontology.
        name: unique in the ontology.
        stage: the stage it shows.
        behaviours: an event with any of them feeds it.
        when: number of the condition that must hold after such an event, if any.
        weight: what one event adds.
        half_life: microseconds in which what was added halves.
        cap: most that it can count for, however often it was fed.
        reset_by: an event with any of these sets it back to nothing.
    """

    number: int
    name: str
    stage: str
    behaviours: frozenset[str]
    when: int | None
    weight: float
    half_life: int
    cap: float
    reset_by: frozenset[str]
    description: str


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage; ``number`` is its place in the order.

    Attributes:
        enter: intent score to reach; None when intent does not matter.
        keep: intent score below which it is left; None when intent does not matter.
        entry_when, exit_when: numbers of conditions, None when there is none.
        certain: decided by rules alone, whatever a model says.
        terminal: left only when its exit (in the file: ``reentry``) says so, whatever else holds.
        after: microseconds without ``since`` after which it lapses; None when it never does.
        since: behaviours that start it anew: ``after`` counts from them, and what ``by`` ended they open.
        by: behaviours that end it, until one of ``since`` comes.
        rest: microseconds since the last of ``since`` in which ``by`` does not end it yet.
        weakened_by: behaviours that speak against it, each with the share of its signals that is kept.
        defining: behaviours that show, afterwards, that a person was here: the classifier's target.
        benchmark: share of persons expected to go on from here, None when not stated.
    """

    number: int
    name: str
    description: str
    enter: float | None
    keep: float | None
    entry_when: int | None
    exit_when: int | None
    certain: bool
    after: int | None
    since: frozenset[str]
    defining: frozenset[str]
    benchmark: float | None
    signals: tuple[Signal, ...]
    terminal: bool = False
    by: frozenset[str] = frozenset()
    rest: int = 0
    weakened_by: tuple[tuple[str, float], ...] = ()

    def ended(self, renewed: int | None, at: int) -> int | None:
        """When it was last started anew, after an event of its ``by``: ``ENDED``, unless that was too short ago."""
        resting = renewed is not None and renewed != ENDED and at - renewed < self.rest
        return renewed if resting else ENDED

    def kept(self, shown: frozenset[str]) -> float:
        """The share of its signals that is left after an event showing these behaviours; the least that any says."""
        return min((share for behaviour, share in self.weakened_by if behaviour in shown), default=1.0)


@dataclass(frozen=True, slots=True)
class ModelRule:
    """When the model is listened to: its lead over the runner-up, and the instants at which silence is scored.

    Attributes:
        margin: least difference between the two most probable stages; below it the model abstains.
        grid: distance of the instants, multiples since the epoch, at which an idle person is scored; an opinion of the
            model holds no longer than this.
        span: for how long after each event an idle person is scored.
    """

    margin: float
    grid: int
    span: int


@dataclass(frozen=True, slots=True)
class Hysteresis:
    """``margin`` of the entry score; least time in a stage before moving ``forward`` or ``back`` out of it."""

    margin: float
    forward: int
    back: int


@dataclass(frozen=True)
class Ontology:
    """A checked ontology. Build one with ``load_ontology`` or ``parse_ontology``."""

    name: str
    version: str
    path: str
    stages: tuple[Stage, ...]
    signals: tuple[Signal, ...]
    conditions: tuple[Condition, ...]
    sessions: SessionRule
    model: ModelRule
    hysteresis: Hysteresis
    table: BehaviourTable
    conversions: frozenset[str]
    value_properties: tuple[str, ...]
    holders: Mapping[str, str]
    source: str = field(repr=False)
    session_by: str | None = None
    administrative: frozenset[str] = frozenset()
    _meanings: Meanings = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_meanings", Meanings(self.table, self.conversions, self._attach))

    def __reduce__(self) -> tuple[object, ...]:
        # Compiled conditions and caches cannot travel; the text is the ontology.
        return (_rebuilt, (self.source, self.path, self.session_by, self.administrative))

    def with_administrative(self, names: Iterable[str]) -> Ontology:
        """This ontology, to which events of these names too are records: what the identity rules call requests.

        They open no session and count as nothing done, whether or not the file lists them. The version is the file's.
        """
        folded = frozenset(map(fold_name, names))
        return replace(
            self,
            administrative=self.administrative | folded,
            table=replace(self.table, records=self.table.records | folded),
        )

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Stages in their order."""
        return tuple(stage.name for stage in self.stages)

    @property
    def defining(self) -> dict[str, frozenset[str]]:
        """Stage to the behaviours that show, afterwards, that a person was there: the classifier's target."""
        return {stage.name: stage.defining for stage in self.stages}

    @property
    def receipts(self) -> Mapping[str, str]:
        """Event name (folded) to the outcome kind it reports."""
        return self.table.receipts

    @property
    def not_activity(self) -> frozenset[str]:
        """Event names (folded) that belong to no session."""
        return self.table.records

    def meaning(self, name: str, path: str | None) -> Meaning:
        """What an event with this name and path means; cached."""
        return self._meanings.of(name, path)

    def behaviours_of(self, name: str, path: str | None = None) -> tuple[str, ...]:
        """The behaviours an event shows; cached. Empty for one that shows none or is unknown."""
        return self._meanings.of(name, path).behaviours

    def is_known(self, name: str, path: str | None = None) -> bool:
        """Whether the ontology names this event."""
        return self._meanings.of(name, path).known

    def renewed(self, before: tuple[int | None, ...], meaning: Meaning, at: int) -> tuple[int | None, ...]:
        """For each stage when it was last started anew, after an event at ``at``; ``ENDED`` where one ended it."""
        return tuple(
            at if number in meaning.renews else self.stages[number].ended(last, at) if number in meaning.ends else last
            for number, last in enumerate(before)
        )

    def _attach(self, meaning: Meaning) -> Meaning:
        shown = frozenset(meaning.behaviours)
        return replace(
            meaning,
            counters=counters_of(meaning.behaviours),
            signals=tuple(s.number for s in self.signals if shown & s.behaviours),
            resets=tuple(s.number for s in self.signals if shown & s.reset_by),
            weakens=tuple(
                (signal.number, kept)
                for stage in self.stages
                if (kept := stage.kept(shown)) < 1
                for signal in stage.signals
            ),
            renews=tuple(s.number for s in self.stages if shown & s.since),
            ends=tuple(s.number for s in self.stages if shown & s.by),
        )


@cache
def _rebuilt(source: str, path: str, session_by: str | None, administrative: frozenset[str]) -> Ontology:
    # a worker unpickles the graph many times, and reads each ontology once
    from transforms.journey.ontology_file import parse_ontology

    return parse_ontology(source, path, session_by).with_administrative(administrative)


def load_ontology(path: object, session_by: str | None = None) -> Ontology:
    """Read an ontology file.

    Args:
        path: the file (``str`` or ``Path``).
        session_by: ``gap`` or ``tracker`` to override what the file says.

    Raises:
        ConfigurationError: with file and line, and the nearest known word for a misspelt one.
    """
    from transforms.journey.ontology_file import read_ontology

    return read_ontology(str(path), session_by)
