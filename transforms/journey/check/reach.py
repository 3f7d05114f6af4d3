"""How far signals can carry a stage: what each can be worth at most, whether it can count, how many events that takes.

Input: signals of a stage, its entry, and what values names can have. Output: numbers and truth values. Weights without
unit. Errors, state: none.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from transforms.journey.check.known_values import GROWING
from transforms.journey.check.ranges import Answer, Ranges
from transforms.journey.facts import COUNTED
from transforms.journey.ontology import Signal


def resets_itself(signal: Signal) -> bool:
    """Whether all that feeds a signal sets it back first."""
    return signal.behaviours <= signal.reset_by


def most(signal: Signal) -> float:
    """What a signal is worth at most, however many events feed it."""
    return signal.weight if resets_itself(signal) else signal.cap


def counts_only_outside(
    signal: Signal, when: str | None, entry: str | None, conversions: Collection[str], ranges: Ranges
) -> bool:
    """Whether a signal is fed only by events after which the entry of its stage never holds again.

    Args:
        signal: a signal of the stage.
        when: its condition. entry: that of the stage.
        conversions: behaviours that are conversions.
        ranges: what values names can have.
    """
    if entry is None or ranges.can(entry).answer is Answer.NEVER:
        return False
    if when is not None and ranges.lasts(when, GROWING) and ranges.can(entry, when).answer is Answer.NEVER:
        return True
    return all(
        any(ranges.can(entry, f"{fact} >= 1").answer is Answer.NEVER for fact in _counting(behaviour, conversions))
        for behaviour in signal.behaviours
    )


def _counting(behaviour: str, conversions: Collection[str]) -> list[str]:
    """Facts that are above nothing for ever once the behaviour was shown."""
    facts = [name for name, counted in COUNTED.items() if counted == behaviour]
    return [*facts, "conversions"] if behaviour in conversions else facts


def fewest_events(signals: Sequence[Signal], level: float, limit: int) -> int | None:
    """How many events it takes to reach ``level`` when all come at once, each the one that adds most.

    None when more than ``limit``. What fades meanwhile only makes it more.
    """
    left = [most(signal) for signal in signals]
    feeding = {b: [n for n, s in enumerate(signals) if b in s.behaviours] for s in signals for b in s.behaviours}
    reached = 0.0
    for events in range(limit + 1):
        if reached >= level * (1 - 1e-9):
            return events
        gains = {b: sum(min(signals[n].weight, left[n]) for n in fed) for b, fed in feeding.items()}
        best = max(sorted(gains), key=gains.__getitem__, default=None)
        if best is None or gains[best] <= 0:
            return None
        for number in feeding[best]:
            left[number] -= min(signals[number].weight, left[number])
        reached += gains[best]
    return None
