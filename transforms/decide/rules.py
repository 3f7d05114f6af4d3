"""The rules that policies consist of: what ``policy`` reads from files and ``asking`` and ``plans`` carry out.

Plain frozen data, picklable. Durations in microseconds. Errors and state: none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from transforms import conditions
from transforms.conditions import Condition, Vocabulary

PURPOSES = ("analytics", "email", "ads", "push", "sales", "personalisation")
"""What a person may consent to."""
KINDS = ("transition", "session", "step")
"""Kinds of moment at which a policy is asked."""
OUTCOME_KINDS = ("delivered", "opened", "clicked", "converted", "accepted", "rejected", "complained", "unsubscribed")
NOTHING = "nothing"
"""The choice of doing nothing; no candidate may bear this name."""

OWN_VARIABLES: Mapping[str, str] = {
    "stage": conditions.STRING,
    "from_stage": conditions.STRING,
    "trigger": conditions.STRING,
    "confidence": conditions.DOUBLE,
    "decided_by": conditions.STRING,
    "consent": conditions.FLAGS,
}
"""What a condition may use besides facts and features; they win over a fact of the same name."""


@dataclass(frozen=True, slots=True)
class CandidateRule:
    """One thing that could be done.

    Args:
        on: kinds of moment at which it is considered.
        stages: stages in which it may be done; empty: any.
        from_stages: stages from which the journey must just have come; empty: any, also none.
        when: further condition, or None.
        purpose: consent that it needs, or None for what does not address the customer.
        priority: the highest of those left is chosen; of equal ones the first listed.
        cooldown: how long it rests after it was chosen, microseconds.
    """

    name: str
    slot: str
    on: tuple[str, ...]
    stages: tuple[str, ...]
    from_stages: tuple[str, ...]
    when: Condition | None
    action: str
    channel: str
    purpose: str | None
    priority: float
    cooldown: int


@dataclass(frozen=True, slots=True)
class CapRule:
    """At most ``limit`` things through ``channels`` in any ``per`` microseconds."""

    name: str
    limit: int
    per: int
    channels: frozenset[str]


@dataclass(frozen=True, slots=True)
class SuppressionRule:
    """After an outcome of kind ``after``, nothing through ``channels`` for ``duration`` microseconds."""

    name: str
    after: str
    duration: int
    channels: frozenset[str]


@dataclass(frozen=True, slots=True)
class PlanStep:
    """A step of a plan, due ``wait`` microseconds after the step before (the first: after the start)."""

    wait: int
    rule: CandidateRule


@dataclass(frozen=True, slots=True)
class Plan:
    """A sequence with waits, started by a transition and left on another.

    Args:
        start_stages: entering one of them starts it, if ``start_when`` holds and it does not run already.
        exit_on_move: leaving the stage in which it started ends it.
        exit_when: ends it where it holds at a trigger or at a step.
        cooldown: how long after a start it is not started again, microseconds.
    """

    name: str
    slot: str
    start_stages: tuple[str, ...]
    start_from: tuple[str, ...]
    start_when: Condition | None
    exit_on_move: bool
    exit_when: Condition | None
    cooldown: int
    steps: tuple[PlanStep, ...]


@dataclass(frozen=True)
class PolicySet:
    """All policies of a run. ``version`` = name@hash of their contents.

    ``holdout`` is the share of persons, sticky by hash with ``holdout_salt``, for whom nothing is done, to measure what
    doing brings. ``granted`` are the purposes that count as granted when a person never stated otherwise.
    """

    version: str
    vocabulary: Vocabulary
    slots: tuple[str, ...]
    candidates: tuple[CandidateRule, ...]
    caps: tuple[CapRule, ...] = ()
    suppressions: tuple[SuppressionRule, ...] = ()
    plans: tuple[Plan, ...] = ()
    holdout: float = 0.0
    holdout_salt: str = ""
    granted: frozenset[str] = frozenset()
    asked: dict[object, object] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What is worth asking at which moments, filled by ``asking``: a cache, bounded by kinds, stages and steps."""

    def __reduce__(self) -> tuple[object, ...]:
        names = [name for name in self.__dataclass_fields__ if name != "asked"]
        return (type(self), tuple(getattr(self, name) for name in names))

    def plan(self, name: str) -> Plan:
        """The plan of that name. Raises KeyError."""
        for plan in self.plans:
            if plan.name == name:
                return plan
        raise KeyError(name)


def policy_vocabulary(features: Iterable[str], facts: Mapping[str, tuple[str, str]]) -> Vocabulary:
    """What policies may speak of: features (doubles), facts, ``OWN_VARIABLES``; of one name the later kind wins.

    Args:
        features: feature names.
        facts: name to (kind, description), as ``transforms.journey.facts.FACTS``.
    """
    features_as_doubles = dict.fromkeys(features, conditions.DOUBLE)
    return Vocabulary({**features_as_doubles, **{name: kind for name, (kind, _) in facts.items()}, **OWN_VARIABLES})
