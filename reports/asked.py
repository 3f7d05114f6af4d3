"""The story of whoever an id stands for, and of a decision: what the command line and the board both tell.

Input: tables, what was typed, and the definitions in force. Output: the stories of ``reports.explain``. Errors:
``InputError`` where nobody has the id, ``ConfigurationError`` where the key that a raw identifier needs is missing.
State: none.
"""

from __future__ import annotations

from pathlib import Path

from reports.explain import DecisionStory, PersonStory, explain_decision, explain_person
from reports.lookup import JourneyTables
from reports.who import find_person
from transforms.decide.rules import PolicySet
from transforms.identity.rules_file import load_rules
from transforms.keys import PSEUDONYM_KEY_VARIABLE, load_key
from transforms.protect import Pseudonymiser


def person_found(tables: JourneyTables, asked: str, identity: Path, key: Path | None) -> tuple[str, str]:
    """The person behind any id, and how it leads there, as ``explain_person`` takes them.

    Args:
        tables: where to look.
        asked: as ``reports.who.find_person`` takes it.
        identity: the file of the identity rules in force.
        key: the pseudonym key; OUT/keys when None. It is read only for a raw identifier.
    """

    return find_person(tables, asked, load_rules(identity), lambda: pseudonymiser_of(tables.out, key))


def pseudonymiser_of(out: Path, key: Path | None) -> Pseudonymiser:
    """What makes pseudonyms of raw identifiers in OUT. Raises ConfigurationError where its key is missing."""
    return Pseudonymiser(load_key(PSEUDONYM_KEY_VARIABLE, given=key, default=out / "keys" / "pseudonym.key"))


def person_asked(tables: JourneyTables, asked: str, identity: Path, key: Path | None) -> PersonStory:
    """The story of the person behind any id."""
    return explain_person(tables, *person_found(tables, asked, identity, key))


def decision_asked(tables: JourneyTables, asked: str, policies: PolicySet) -> DecisionStory | None:
    """The story of the decision, or of the decision of the action, of this id; None where there is none."""
    known = tables.first("decisions", "decision_id = ?", [asked]) or tables.first("actions", "action_id = ?", [asked])
    return explain_decision(tables, known["decision_id"], policies) if known is not None else None
