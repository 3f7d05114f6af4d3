"""Which ontologies and models journeys are folded by, and how a shard follows when others are activated. Pure.

**The rule.** Activations are dated records that are only ever added, so a number of records says what is in force at
every instant. When more are recorded, nothing changes before the earliest of their dates (``since``). Persons who were
folded up to it or further are folded again, as far as they were: first by what they were folded by, which says what
was stated of them, then by what is in force now; what differs is stated, and what is no more gets a tombstone. Whoever
was not folded as far is only woken at the next date. Decisions are recorded and stay. A shard does so some persons at
a time, in the order of ``Following``; whoever gets a message, or is due, before it is his turn, is folded again then.

Input and output: persons. Time domain: event time, microseconds. Errors: none but those of the port. State: who was
folded again. A shard's log knows from which records to which, up to whom in the record store
(``contracts.exchange.FoldedBy``), and in each entry of a person how many records that person was folded by.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from contracts.exchange import MAX_TIME
from transforms.journey.dated import Activated, DatedOntologies, machinery
from transforms.journey.fold import JourneyFold
from transforms.journey.functions import FUNCTIONS
from transforms.journey.live.entries import Folded
from transforms.journey.path import StagePaths
from transforms.journey.worker import Score


@dataclass(frozen=True)
class Force:
    """What some records of activations put in force when. ``score`` is None where no model ever is."""

    activated: Activated
    ontologies: DatedOntologies
    score: Score | None


class InForce(Protocol):
    """The registries, as far as a stream reads them."""

    def known(self, *, at_once: bool = False) -> Activated:
        """How many records there are; looked at now and then, or ``at_once``. The numbers only grow."""
        ...

    def force(self, activated: Activated) -> Force:
        """What the first so many records put in force. Raises ConfigurationError or ModelError when they are lost."""
        ...

    def since(self, before: Activated, after: Activated) -> int:
        """The earliest date of the records that were added."""
        ...

    @property
    def refusal(self) -> str:
        """Why the newest records are not followed; empty when they are."""
        ...


class Folding(NamedTuple):
    """What folds journeys and makes their stages, and by what."""

    force: Force
    fold: JourneyFold
    paths: StagePaths

    @staticmethod
    def by(force: Force, lateness: int) -> Folding:
        """That of a force."""
        return Folding(force, *machinery(force.ontologies, FUNCTIONS, lateness))


@dataclass
class Following:
    """Who is still to be folded again: those in memory in their order, then those of the record store in theirs.

    Attributes:
        before: what they were folded by; None: nobody is to be folded again.
        since: whoever was not folded so far has nothing to be folded again.
        memory: persons in memory, of whom ``place`` had their turn.
        after: the last person of the record store who had; None: none yet.
        renewed: persons who were folded again before their turn, or with it.
    """

    before: Folding | None = None
    since: int = MAX_TIME
    memory: Sequence[str] = ()
    place: int = 0
    after: str | None = None
    renewed: set[str] = field(default_factory=set)

    def begin(self, before: Folding, since: int, memory: Iterable[str]) -> None:
        """All are to be folded again."""
        self.before, self.since = before, since
        self.memory, self.place, self.after = sorted(memory), 0, None
        self.renewed = set()

    def end(self) -> None:
        """All were."""
        self.before, self.since = None, MAX_TIME
        self.memory, self.place, self.after = (), 0, None
        self.renewed = set()

    def folded(self, now: Activated, pending_after: str | None, *, renewed: bool) -> Folded:
        """What a log is to say, ``now`` being in force; ``renewed``: all were folded again."""
        if self.before is None or renewed or self.before.force.activated == now:
            return Folded(now)
        return Folded(self.before.force.activated, now, pending_after or self.after)

    def resume(self, after: str | None, renewed: Iterable[str]) -> None:
        """Go on from what a log says."""
        self.after = after
        self.place = 0 if after is None else len(self.memory)
        self.renewed.update(renewed)

    def number(self, person: str, now: Activated) -> int:
        """How many records of activations a person was folded by, ``now`` being in force."""
        return sum(self.before.force.activated if self.before is not None and self.owes(person) else now)

    def turn(self, place: int, after: str | None, *, renewed: bool) -> None:
        """The persons up to there had their turn; ``renewed``: all had."""
        if self.before is None:
            return
        if renewed:
            self.end()
        else:
            self.place, self.after = max(place, self.place), after or self.after

    @property
    def is_ongoing(self) -> bool:
        """Whether anybody is still to be folded again."""
        return self.before is not None

    def owes(self, person: str) -> bool:
        """Whether somebody was not folded again yet."""
        if self.before is None or person in self.renewed:
            return False
        return self.after is None or person > self.after

    def done(self, persons: Iterable[str]) -> None:
        """Some were."""
        if self.before is not None:
            self.renewed.update(persons)
