"""What resolution says of an edge, in words. Input: columns of ``edges``. Output: texts. Errors, state: none."""

from __future__ import annotations

from rich.text import Text

from contracts.exchange import ALIAS, MERGE, UNLINK
from reports.rendering import SHORT, clean
from transforms.identity.resolve import ACCEPTED, REFUSED, REMOVED
from transforms.identity.union import BARRED

_RULES = {
    "united": "both belong to one person",
    "grouped": "devices seen together, without a login",
    "only_person": "nobody else was seen with it",
    "owner": "shared; what it did without a login is this person's",
    "merge": "somebody asked for it, whatever limits say",
    "last_known": "shared; what it did without a login is the last known person's",
    "first_known": "shared; what it did without a login is the first known person's",
    "keep_apart": "shared; what it did without a login is nobody else's",
    "carry_forward": "shared; what it did without a login is the person's who logged in last before it",
    "carry_visit": "shared; what it did without a login is the person's who logged in on that visit, else before it",
    "carry_back": "shared; what it did without a login is the person's who logged in next after it",
    "merged_with_another": "somebody merged the device with another person",
    "demoted": "one end was seen with so many logins that it links nothing",
    "crowded": "one end was seen with so many others that it links nothing",
    "unlink": "somebody asked for it: the two were unlinked",
    "barred": "it would join two that were unlinked",
    "component_size": "the person would have too many identifiers",
}
_OF_UNLINK = {
    "unlink": "somebody asked for it: no evidence joins the two",
    "merge": "lifted: somebody asked later to merge them",
}
_KINDS = {ALIAS: "an alias: ", MERGE: "a merge: ", UNLINK: "an unlink: "}
_STATUS = {
    ACCEPTED: ("one", "green"),
    REFUSED: ("apart", "yellow"),
    REMOVED: ("removed", "yellow"),
    BARRED: ("barred", "red"),
}


def rule_words(rule: str, kind: str = "") -> str:
    """What a rule of identity says about an edge of a kind."""
    if rule.startswith("limit:"):
        said = f"a person may not have so many values of {rule.removeprefix('limit:')}"
    elif kind == UNLINK:
        said = _OF_UNLINK.get(rule, _RULES.get(rule, rule))
    else:
        said = _RULES.get(rule, rule)
    return _KINDS.get(kind, "") + said


def status_words(status: str) -> Text:
    """Whether an edge holds, coloured."""
    word, style = _STATUS.get(status, (status, ""))
    return Text(clean(word), style=style)


def conflict_words(conflict: str | None) -> str:
    """The identifier that stood against an edge, its pseudonym cut short; empty for none."""
    if not conflict:
        return ""
    namespace, _, value = conflict.partition(":")
    return f" (against it: {clean(namespace)} {clean(value[:SHORT])})"
