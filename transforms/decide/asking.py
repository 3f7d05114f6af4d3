"""Asking the policy at one moment: which candidates stand, which fell and why, and which one is chosen.

Input: a ``PolicySet``, a ``Moment``, and what was decided before (``policy.*`` facts). Output: a ``Choice``. Everything
it looks at is recorded on the decision, so that the same question asked again from the record has the same answer.
Time domain: event time, microseconds. Errors: none; a condition that cannot be evaluated makes its candidate not
eligible, with the reason. State: none but the cache in ``PolicySet.asked``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from contracts.exchange import Candidate
from transforms.conditions import Condition, ConditionError, ConditionSet
from transforms.decide.rules import NOTHING, PURPOSES, CandidateRule, Plan, PolicySet

Facts = dict[str, bool | int | float | str]
Verdict = bool | ConditionError
Exits = Mapping[str, int]

# Facts that a decision records about the policy's own past; no condition can name them, since they hold a dot.
CAP = "policy.cap."
LAST = "policy.last."
SUPPRESSED = "policy.suppressed."
FROM_STAGE = "policy.from_stage"
CONFIDENCE = "policy.confidence"
DECIDED_BY = "policy.decided_by"
LINEAGE = "policy.lineage"


@dataclass(frozen=True, slots=True)
class Moment:
    """What a policy looks at. ``consent`` holds every purpose, by statement or by the policy's default."""

    kind: str
    at: int
    stage: str
    from_stage: str | None
    consent: dict[str, bool]
    values: dict[str, object]


@dataclass(frozen=True, slots=True)
class Choice:
    """``rule`` is None for doing nothing; ``candidates`` are all of the slot, in the order of the files."""

    rule: CandidateRule | None
    candidates: tuple[Candidate, ...]
    reason: str
    propensity: float


@dataclass(frozen=True)
class Entry:
    """A candidate at a kind of moment: already fallen (``fallen``), or subject to the condition at ``condition``."""

    rule: CandidateRule
    fallen: Candidate | None
    condition: int | None


@dataclass(frozen=True)
class Slot:
    """A slot at a kind of moment. ``settled`` is the choice where every candidate has fallen already."""

    name: str
    entries: tuple[Entry, ...]
    cooling: tuple[CandidateRule, ...]
    settled: Choice | None


@dataclass(frozen=True)
class Asking:
    """All there is to ask at one kind of moment: candidates by slot, plans that may start, exits of plans."""

    conditions: ConditionSet
    slots: tuple[Slot, ...]
    starts: tuple[tuple[Plan, int | None], ...]
    exits: Exits

    def verdicts(self, moment: Moment) -> Sequence[Verdict]:
        return self.conditions.verdicts(moment.values) if len(self.conditions) else ()


def moment(
    policies: PolicySet,
    *,
    kind: str,
    at: int,
    stage: str,
    from_stage: str | None,
    confidence: float,
    decided_by: str,
    features: Mapping[str, float],
    facts: Mapping[str, bool | int | float | str],
    consent: Mapping[str, bool],
) -> Moment:
    """The values that conditions see, and consent with the policy's defaults."""
    full = {purpose: consent.get(purpose, purpose in policies.granted) for purpose in PURPOSES}
    values: dict[str, object] = {
        **features,
        **facts,
        "stage": stage,
        "from_stage": from_stage or "",
        "trigger": kind,
        "confidence": confidence,
        "decided_by": decided_by,
        "consent": full,
    }
    return Moment(kind, at, stage, from_stage, full, values)


def asking_for(
    policies: PolicySet, kind: str, stage: str, from_stage: str | None, step: tuple[str, int] | None = None
) -> Asking:
    """What to ask at such a moment; ``step`` is (plan, index) when a plan's wait ran out.

    At a step, only the step itself and candidates that listen to steps are in question, in the plan's slot. At other
    moments a slot is asked when any of its candidates listens to this kind, and then all of them are listed.
    """
    key = (kind, stage, from_stage, step)
    known = policies.asked.get(key)
    if isinstance(known, Asking):
        return known
    made = _build(policies, kind, stage, from_stage, step)
    policies.asked[key] = made
    return made


def _build(policies: PolicySet, kind: str, stage: str, from_stage: str | None, step: tuple[str, int] | None) -> Asking:
    conditions: list[Condition] = []

    def place(condition: Condition | None) -> int | None:
        if condition is None:
            return None
        conditions.append(condition)
        return len(conditions) - 1

    def entry(rule: CandidateRule) -> Entry:
        misfit = _misfit(rule, kind, stage, from_stage)
        if misfit:
            return Entry(rule, _candidate(rule, "not_eligible", misfit), None)
        return Entry(rule, None, place(rule.when))

    slots: list[Slot] = []
    starts: list[tuple[Plan, int | None]] = []
    exits: dict[str, int] = {}
    if step is not None:
        plan = policies.plan(step[0])
        rules = [plan.steps[step[1]].rule]
        rules += [rule for rule in policies.candidates if rule.slot == plan.slot and kind in rule.on]
        slots.append(_slot(step_slot(*step), [entry(rule) for rule in rules]))
    else:
        for slot in policies.slots:
            rules = [rule for rule in policies.candidates if rule.slot == slot]
            if any(kind in rule.on for rule in rules):
                slots.append(_slot(slot, [entry(rule) for rule in rules]))
        if kind == "transition":
            starts = [
                (plan, place(plan.start_when))
                for plan in policies.plans
                if stage in plan.start_stages and (not plan.start_from or from_stage in plan.start_from)
            ]
    for plan in policies.plans:
        index = place(plan.exit_when)
        if index is not None:
            exits[plan.name] = index
    return Asking(ConditionSet(conditions), tuple(slots), tuple(starts), exits)


def _slot(name: str, entries: Sequence[Entry]) -> Slot:
    fallen = tuple(entry.fallen for entry in entries if entry.fallen is not None)
    settled = Choice(None, fallen, _nothing_left(fallen), 1.0) if len(fallen) == len(entries) else None
    cooling = tuple(entry.rule for entry in entries if entry.rule.cooldown and entry.fallen is None)
    return Slot(name, tuple(entries), cooling, settled)


def step_slot(plan: str, index: int) -> str:
    """The slot of a plan's step: its own, so that its decision has its own id."""
    return f"plan:{plan}:{index}"


def choose(
    policies: PolicySet,
    slot: Slot,
    verdicts: Sequence[Verdict],
    now: Moment,
    past: Mapping[str, bool | int | float | str],
    lineage: str,
) -> Choice:
    """Drop what may not be done, in a fixed order of rules, and choose the highest priority among what is left.

    The order: not_eligible, consent, suppressed, cooldown, cap, holdout, outranked. The first that applies is named.
    The propensity is 1, but under a holdout: there, its share for doing nothing and the rest for the chosen one.
    ``lineage``: see ``decide.decide_journey``.
    """
    if slot.settled is not None:
        return slot.settled
    entries = slot.entries
    candidates: list[Candidate | None] = []
    standing: list[int] = []
    for entry in entries:
        fallen = entry.fallen or _fall(policies, entry, verdicts, now, past)
        if fallen is None:
            standing.append(len(candidates))
        candidates.append(fallen)
    if not standing:
        done = tuple(candidate for candidate in candidates if candidate is not None)
        return Choice(None, done, _nothing_left(done), 1.0)

    held_out = policies.holdout > 0 and is_held_out(policies, lineage)
    best = max(standing, key=lambda index: (entries[index].rule.priority, -index))
    for index in standing:
        rule = entries[index].rule
        if held_out:
            candidates[index] = _candidate(rule, "holdout", "the person is in the holdout")
        elif index == best:
            candidates[index] = _candidate(rule, None, "")
        else:
            candidates[index] = _candidate(rule, "outranked", f"{entries[best].rule.name} ranks higher")
    done = tuple(candidate for candidate in candidates if candidate is not None)
    if held_out:
        return Choice(None, done, f"{NOTHING}: the person is in the holdout", policies.holdout)
    winner = entries[best].rule
    reason = f"{winner.name}: priority {winner.priority:g}, the highest of {len(standing)} left of {len(entries)}"
    return Choice(winner, done, reason, 1.0 - policies.holdout)


def is_held_out(policies: PolicySet, lineage: str) -> bool:
    """Whether nothing is done for this person, by a sticky hash of the strand the journey began on.

    Not of the person's id: that is another one after the first login, and the person would change sides.
    """
    digest = hashlib.blake2b(f"{policies.holdout_salt}\0{lineage}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) < policies.holdout * 2**64


def _misfit(rule: CandidateRule, kind: str, stage: str, from_stage: str | None) -> str:
    if kind not in rule.on:
        return f"not considered at a {kind}"
    if rule.stages and stage not in rule.stages:
        return f"stage {stage} is none of {', '.join(rule.stages)}"
    if rule.from_stages and from_stage not in rule.from_stages:
        return f"did not come from {' or '.join(rule.from_stages)}"
    return ""


def _fall(
    policies: PolicySet,
    entry: Entry,
    verdicts: Sequence[Verdict],
    now: Moment,
    past: Mapping[str, bool | int | float | str],
) -> Candidate | None:
    rule = entry.rule
    if entry.condition is not None:
        verdict = verdicts[entry.condition]
        if isinstance(verdict, ConditionError):
            return _candidate(rule, "not_eligible", verdict.message)
        if not verdict:
            return _candidate(rule, "not_eligible", f"does not hold: {rule.when.text if rule.when else ''}")
    if rule.purpose is not None and not now.consent[rule.purpose]:
        return _candidate(rule, "consent", f"consent for {rule.purpose} is not granted")
    for suppression in policies.suppressions:
        if rule.channel in suppression.channels and SUPPRESSED + suppression.name in past:
            return _candidate(rule, "suppressed", f"{suppression.name}: {suppression.after} not long enough ago")
    if rule.cooldown and LAST + rule.name in past:
        return _candidate(rule, "cooldown", "was chosen not long enough ago")
    for cap in policies.caps:
        count = past.get(CAP + cap.name, 0)
        if rule.channel in cap.channels and isinstance(count, int) and count >= cap.limit:
            return _candidate(rule, "cap", f"{cap.name}: {count} of at most {cap.limit}")
    return None


def _candidate(rule: CandidateRule, dropped_by: str | None, reason: str) -> Candidate:
    return _the_candidate(rule.name, rule.action, rule.channel, rule.priority, dropped_by, reason)


@lru_cache(maxsize=4_096)
def _the_candidate(
    name: str, action: str, channel: str, priority: float, dropped_by: str | None, reason: str
) -> Candidate:
    """The one object of each candidate, so that whoever writes it down can do so once."""
    return Candidate(name, action, channel, priority, dropped_by, reason)


def _nothing_left(candidates: Sequence[Candidate]) -> str:
    counts: dict[str, int] = {}
    for candidate in candidates:
        counts[candidate.dropped_by or ""] = counts.get(candidate.dropped_by or "", 0) + 1
    return f"{NOTHING}: no candidate is left ({', '.join(f'{n} {why}' for why, n in counts.items())})"
