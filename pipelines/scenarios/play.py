"""Plays events through the cores of the pipeline: validate, protect, link, strand, journey, decide.

The same functions in the same order as the bounded graph has them, in one process and without Beam: ``Validator``,
``Protector``, ``LinkBook``, ``resolve_collected``, ``fold_shard``, ``JourneyFold``, ``StagePaths``, ``decide_journey``.
Nothing was decided before, and nothing is sent; no model scores, but a scenario may say what one would say.

Input: events in any order, and the horizon. Output: ``Played``. Time domain: event time, UTC microseconds. Errors:
``ConfigurationError`` of the files. State: none between plays, but caches of answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from contracts import wire
from contracts.event import Event, Identifier
from contracts.exchange import Decision, History, ShardInput, StrandEvent, Trigger
from features.journey_features import FEATURE_NAMES
from pipelines.config import ProjectConfig
from transforms.dead_letter import DeadLetterBox
from transforms.decide.decide import decide_journey
from transforms.decide.plans import PlanState
from transforms.decide.policy import load_policies, policy_vocabulary
from transforms.decide.rules import PolicySet
from transforms.identity.evidence import LinkBook
from transforms.identity.graph import Links
from transforms.identity.resolve import resolve_collected
from transforms.identity.rules import IdentityRules
from transforms.identity.rules_file import load_rules
from transforms.identity.strands import fold_shard
from transforms.journey.facts import FACTS
from transforms.journey.fold import JourneyFold, Trace
from transforms.journey.functions import FUNCTIONS
from transforms.journey.ontology import Ontology, load_ontology
from transforms.journey.path import StagePath, StagePaths
from transforms.minimise import FieldFilter
from transforms.protect import Protector, Pseudonymiser
from transforms.validate import ValidationRules, Validator, flagged, without_reserved

_KEY = b"the key of journey tests, no secret"
"""Fixed, so that persons have the same ids, and fall into the same groups of an experiment, wherever a test runs."""
_SEQUENCE = 1
_MODEL_VERSION = "as-told"

Model = tuple[float, ...] | None


@dataclass(frozen=True)
class PlayedPerson:
    """One person and what became of the journey.

    Attributes:
        names: (primary identifier, login or None) of each strand, as pseudonyms.
        events: the person's events, each with its strand.
        model: what a model would say at every point, a probability a stage; None where there is none.
    """

    person_id: str
    names: frozenset[tuple[Identifier, Identifier | None]]
    events: tuple[tuple[Event, str], ...]
    trace: Trace
    path: StagePath
    decisions: tuple[Decision, ...]
    plans: tuple[PlanState, ...]
    model: Model = None


@dataclass(frozen=True)
class Played:
    """What came of a scenario: its persons, those who acted first before others, and the events turned away."""

    persons: tuple[PlayedPerson, ...]
    rejected: tuple[tuple[str, str], ...]
    """(event id, reason)."""


class World:
    """The files in force: events go in, journeys come out.

    Args:
        config: bounds, and which files; the ontology, identity rules and policies are read from it.
    """

    def __init__(self, config: ProjectConfig) -> None:
        self.config = config
        self.identity: IdentityRules = load_rules(config.identity)
        self.ontology: Ontology = load_ontology(config.ontology, config.session_by).with_administrative(
            self.identity.administrative
        )
        vocabulary = policy_vocabulary(FEATURE_NAMES, FACTS)
        self.policies: PolicySet = load_policies(config.policies, vocabulary, self.ontology.stage_names)
        self._fold = JourneyFold(self.ontology, FUNCTIONS, config.lateness)
        self._paths = StagePaths(self.ontology, FUNCTIONS)
        self._box = DeadLetterBox(_KEY[:32])
        self._pseudonymiser = Pseudonymiser(_KEY)
        self._protector = Protector(self.identity, self._pseudonymiser, FieldFilter(config.properties), shards=1)
        self._validator = Validator(
            ValidationRules(
                lateness=config.lateness,
                clock_skew=config.clock_skew,
                max_bytes=config.max_event_bytes,
                is_known=self.ontology.is_known,
            )
        )

    @property
    def files(self) -> tuple[Path, ...]:
        """What it was read from."""
        return (self.config.ontology, self.config.identity, *self.config.policies)

    @cached_property
    def actions(self) -> frozenset[str]:
        """Names of candidates and of plan steps, and of the actions that they choose."""
        rules = [*self.policies.candidates, *(step.rule for plan in self.policies.plans for step in plan.steps)]
        return frozenset(name for rule in rules for name in (rule.name, rule.action))

    def pseudonym(self, identifier: Identifier) -> Identifier | None:
        """What an identifier is called in what was played; None for one that the identity rules block."""
        normal = self.identity.normalise(identifier)
        return None if normal is None else self._pseudonymiser.pseudonym(normal)

    def play(self, events: Sequence[Event], horizon: int, model: Model = None) -> Played:
        """Play all events up to ``horizon``; ``model`` as in ``PlayedPerson``."""
        rejected: list[tuple[str, str]] = []
        kept: list[StrandEvent] = []
        book = LinkBook(self.identity)
        for event in events:
            verdict = self._validator.check(event)
            if verdict.reason is not None:
                rejected.append((event.event_id, verdict.reason))
                continue
            protected = self._protector.protect(flagged(without_reserved(event), verdict.flags), event.source)
            if protected is None:
                rejected.append((event.event_id, "no_usable_identifier"))
                continue
            place, strand_event = protected
            book.observe(place.identifiers, event.name, event.event_id, event.event_time, event.received_time)
            kept.append(strand_event)
        links = Links(self.identity)
        links.add_all(book.drain())
        assignments = tuple(resolve_collected(links, self.identity).assignments(_SEQUENCE))
        shard = fold_shard(
            [ShardInput(events=tuple(kept)), ShardInput(assignments=assignments)],
            self._box,
            carries=self.identity.carries(),
        )
        rejected += [(letter.dead_letter_id, letter.reason) for letter in shard.dead_letters]
        journeys: dict[str, list[tuple[Event, str]]] = {}
        names: dict[str, set[tuple[Identifier, Identifier | None]]] = {}
        for record in shard.records:
            journeys.setdefault(record.person_id, []).extend(
                (wire.unpack(Event, packed), record.strand_id) for packed in record.events
            )
            names.setdefault(record.person_id, set()).add((record.primary, record.login))
        persons = [
            self._journey(person, frozenset(names[person]), tuple(pairs), horizon, model)
            for person, pairs in journeys.items()
        ]
        persons.sort(key=lambda played: (played.trace.first_time, played.trace.steps[0].event.event_id))
        return Played(tuple(persons), tuple(rejected))

    def as_of(self, person: PlayedPerson, at: int) -> tuple[Trace, StagePath, Trigger]:
        """A person's journey as it stood at ``at``, and what policies see then. Raises LookupError before it began."""
        known = [pair for pair in person.events if pair[0].event_time <= at]
        if not known:
            raise LookupError("the journey had not begun")
        trace = self._fold.trace(person.person_id, known, at)
        path = self._path(trace, person.model)
        return trace, path, self._paths.trigger_at(trace, path, at)

    def _journey(
        self,
        person: str,
        names: frozenset[tuple[Identifier, Identifier | None]],
        pairs: tuple[tuple[Event, str], ...],
        horizon: int,
        model: Model,
    ) -> PlayedPerson:
        trace = self._fold.trace(person, pairs, horizon)
        path = self._path(trace, model)
        decided = decide_journey(
            self.policies,
            person,
            trace.steps[0].strand_id,
            self._paths.triggers(trace, path),
            self._paths.trigger_function(trace, path),
            [(move.at, move.to_stage) for move in path.transitions],
            History(),
            horizon,
            lambda _: self.ontology.version,
            trace.outcomes,
        )
        return PlayedPerson(person, names, pairs, trace, path, decided.decisions, decided.plans, model)

    def _path(self, trace: Trace, model: Model) -> StagePath:
        if model is None:
            return self._paths.stage_path(trace)
        points = len(trace.points)
        return self._paths.stage_path(trace, [model] * points, [_MODEL_VERSION] * points)
