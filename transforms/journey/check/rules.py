"""The rules of the check, by name, and what one of them has to say. Pure; errors, state: none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ERROR, WARNING, NOTE = "error", "warning", "note"

RULES: Final[dict[str, str]] = {
    "contradiction": "a condition that can never hold",
    "ends-at-once": "a stage whose entry is also its end",
    "unreachable-intent": "an intent that the signals which can be fed never reach",
    "barely-reachable": "an intent that takes nearly every signal at its cap at once",
    "many-events": "an intent that takes more than 25 events at once",
    "outside-entry": "a signal that is fed only where the entry of its stage never holds again",
    "resets-itself": "a signal that is set back by all that feeds it",
    "shadowed-stage": "a stage in whose place the rules always name another",
    "unreachable-stage": "a stage that nothing the sources emit leads to",
    "overlap": "two conditions that can hold at once, of which one wins",
    "cannot-tell": "a pair of conditions that this check does not understand",
    "unfed-signal": "a signal that nothing the sources emit feeds",
    "unseen-opposite": "a stage of which nothing the sources emit shows what speaks against it, or what ends it",
    "unseen-outcome": "a stage of which the model can learn nothing from what the sources emit",
    "unknown-event": "an event that sources emit and the ontology does not name",
    "two-meanings": "an event that is called neutral, or speaks for a stage, and shows the opposite",
    "double-count": "two signals of one stage that one event feeds",
    "dwell-outlasts-evidence": "a least time in a stage that is longer than what was shown lasts",
    "evidence-fades-waiting": "a signal that halves before a move on may be made",
    "no-margin": "a stage that is left a microsecond after it was reached",
    "without-effect": "a key of a stage that changes nothing, whatever happens",
}
"""Every rule, with what it finds."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to look at. ``rule`` is one of ``RULES``, ``severity`` error, warning or note."""

    rule: str
    severity: str
    path: str
    line: int
    message: str
    mending: str
