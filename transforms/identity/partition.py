"""The partition: which identifiers are one person, decided link by link in the order of first evidence.

Pure: no Beam, no database. Input: links (``graph.Links``) and rules. Output: ``Partition``. Errors: none; a link that
may not hold is refused, and why is kept. ``transforms.identity.resolve`` says what the rules are and writes rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from contracts.exchange import ALIAS, LINK_KINDS, MERGE, UNLINK
from transforms.identity.graph import NO_END, Column, Links, column
from transforms.identity.owners import Owners, Verdict
from transforms.identity.rules import IdentityRules
from transforms.identity.union import Union

UNITED, GROUPED, MERGED = "united", "grouped", "merge"
UNLINKED = "unlink"

_ALIAS, _MERGE, _UNLINK = (LINK_KINDS.index(kind) for kind in (ALIAS, MERGE, UNLINK))


@dataclass(slots=True)
class Partition:
    """Who is one person.

    Attributes:
        persons: for each identifier the number that its person goes by: the root of a set of identifiers.
        rules: for each link the rule that accepted or refused it; empty for one of a single identifier.
        conflicts: for some links the identifier that stood against them.
        carried: devices whose login-less events go to the login most recently seen, and the person who had it last.
        union: the sets behind it.
    """

    persons: list[int]
    rules: list[str]
    conflicts: dict[int, int]
    carried: dict[int, int]
    union: Union


@dataclass(slots=True)
class _Explicit:
    """What people asked for: the newest word about each pair counts."""

    merges: list[int] = field(default_factory=list)
    bars: set[tuple[int, int]] = field(default_factory=set)


def partition(links: Links, rules: IdentityRules, demoted: Mapping[int, str]) -> Partition:
    """Decide every link.

    Args:
        links: what was seen.
        rules: the rules in force.
        demoted: identifiers that link nothing, see ``transforms.identity.demotion``.
    """
    verdict = Verdict([""] * len(links.left))
    left, right, order = column(links.left), column(links.right), links.order()
    paired = order[right[order] != NO_END]
    if demoted:
        paired = _without_demoted(links, paired, demoted, verdict)
    explicit = _explicit(links, rules, paired, verdict)
    evidence = paired[_is_evidence(links, rules, paired)]
    if explicit.bars:
        evidence = _without_unlinked(links, evidence, explicit.bars, verdict)
    known = links.known_column()
    union = Union(links, rules, explicit.bars)
    forced: list[int] = []
    for edge in explicit.merges:
        if known[links.left[edge]] == known[links.right[edge]]:
            verdict.settle(edge, union.unite(links.left[edge], links.right[edge], forced=True), MERGED)
        else:
            forced.append(edge)
    alike = known[left[evidence]] == known[right[evidence]]
    for edge in evidence[alike].tolist():
        one = links.left[edge]
        verdict.settle(edge, union.unite(one, links.right[edge]), UNITED if links.known[one] else GROUPED)
    roots = union.roots()
    owners = Owners(links, rules, union, roots, evidence[~alike], forced, verdict)
    owned = owners.decide()[roots]
    persons: list[int] = np.where(owned == NO_END, roots, owned).tolist()
    carried = {device: holder for group, holder in owners.carried.items() for device in union.circle(group)}
    return Partition(persons, verdict.rules, verdict.conflicts, carried, union)


def _without_demoted(links: Links, paired: Column, demoted: Mapping[int, str], verdict: Verdict) -> Column:
    """The links between identifiers that may link; the others get their verdict."""
    out = np.zeros(len(links.identifiers), dtype=np.bool_)
    out[list(demoted)] = True
    touched = out[column(links.left)[paired]] | out[column(links.right)[paired]]
    for edge in paired[touched].tolist():
        end = links.right[edge] if links.right[edge] in demoted else links.left[edge]
        verdict.refuse(edge, demoted[end], end)
    return paired[~touched]


def _is_evidence(links: Links, rules: IdentityRules, paired: Column) -> npt.NDArray[np.bool_]:
    kind = links.kind_column()[paired]
    words = [_MERGE, _UNLINK, _ALIAS] if rules.alias_overrides else [_MERGE, _UNLINK]
    return np.isin(kind, words, invert=True)


def _explicit(links: Links, rules: IdentityRules, paired: Column, verdict: Verdict) -> _Explicit:
    """Merges and bars in force; what the other word overruled gets its verdict."""
    newest: dict[tuple[int, int], int] = {}
    asked = paired[~_is_evidence(links, rules, paired)].tolist()
    for edge in asked:
        pair = _pair(links, edge)
        held = newest.get(pair)
        if held is None or _last(links, edge) > _last(links, held):
            newest[pair] = edge
    explicit = _Explicit()
    for edge in asked:
        pair = _pair(links, edge)
        unlinked = links.kind[newest[pair]] == _UNLINK
        if unlinked:
            explicit.bars.add(pair)
            verdict.refuse(edge, UNLINKED, NO_END)
        elif links.kind[edge] == _UNLINK:
            verdict.refuse(edge, MERGED, NO_END)
        else:
            explicit.merges.append(edge)
    return explicit


def _without_unlinked(links: Links, evidence: Column, bars: set[tuple[int, int]], verdict: Verdict) -> Column:
    """Evidence between the two ends of a bar is no evidence any more."""
    ends = {end for pair in bars for end in pair}
    concerned = np.isin(column(links.left)[evidence], list(ends))
    removed = np.zeros(len(evidence), dtype=np.bool_)
    for position in np.flatnonzero(concerned | np.isin(column(links.right)[evidence], list(ends))).tolist():
        edge = int(evidence[position])
        if _pair(links, edge) in bars:
            verdict.refuse(edge, UNLINKED, NO_END)
            removed[position] = True
    return evidence[~removed]


def _pair(links: Links, edge: int) -> tuple[int, int]:
    left, right = links.left[edge], links.right[edge]
    return (left, right) if left < right else (right, left)


def _last(links: Links, edge: int) -> tuple[int, str, bool]:
    """The newest statement of a pair; an unlink wins where both were made in one event's place."""
    return (links.last_time[edge], links.last_id[edge], links.kind[edge] == _UNLINK)
