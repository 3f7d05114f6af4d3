"""Demotion: which identifiers are so widely shared that they link nothing: a kiosk, a call centre's phone, a typo.

Pure. An identifier is *demoted* when it was seen with more logins than ``demote_after`` of its namespace allows: with
that many values of one better known namespace, within the given stretch of time where there is one (each value counts
at its first evidence with the identifier). It is *crowded* when it was seen with more than ``crowd`` others, whatever
they are. Both depend on the set of links alone. What it was seen with keeps its person, and what was done with it and
without a login is a person of its own. Times: UTC microseconds of event time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from contracts.event import Identifier
from contracts.exchange import LINK_KINDS, UNLINK, Link
from transforms.identity.graph import NO_END, Column, Links, column
from transforms.identity.rules import Bound, IdentityRules

DEMOTED, CROWDED = "demoted", "crowded"
_UNLINK = LINK_KINDS.index(UNLINK)


def crowded(links: Links, rules: IdentityRules) -> set[int]:
    """The identifiers (by number) that were seen with a crowd of others.

    Args:
        links: all links of every identifier in question, erased ones included: what a crowd shared stays no evidence.
        rules: the rules in force.
    """
    edges = _pairs(links)
    ends = np.concatenate((column(links.left)[edges], column(links.right)[edges]))
    return set(np.flatnonzero(np.bincount(ends, minlength=len(links.identifiers)) > rules.crowd).tolist())


def demoted(links: Links, rules: IdentityRules) -> set[int]:
    """The identifiers (by number) that were seen with too many logins.

    Args:
        links: all links of every identifier in question.
        rules: the rules in force.
    """
    bounds = [rules.namespaces[i.namespace].demote_after for i in links.identifiers]
    least = min((bound.values for bound in bounds if bound is not None), default=None)
    if least is None:
        return set()
    edges = _pairs(links)
    left, right = column(links.left)[edges], column(links.right)[edges]
    logins = links.known_column()[left]
    candidates = np.flatnonzero(np.bincount(right[logins], minlength=len(bounds)) > least)
    if not len(candidates):
        return set()
    by_identifier: dict[int, list[int]] = {}
    for edge in edges[np.isin(right, candidates) & logins].tolist():
        by_identifier.setdefault(links.right[edge], []).append(edge)
    found: set[int] = set()
    for index, sightings in by_identifier.items():
        bound = bounds[index]
        if bound is not None and is_demoted(
            rules,
            links.identifiers[index],
            bound,
            [(links.identifiers[links.left[edge]].namespace, links.first_time[edge]) for edge in sightings],
        ):
            found.add(index)
    return found


def demotion_of(identifier: Identifier, its_links: Iterable[Link], rules: IdentityRules) -> str | None:
    """Why one identifier links nothing, by all its links; None when it does."""
    own = Links(rules)
    own.add_all(its_links)
    index = own.index.get(identifier)
    if index in crowded(own, rules):
        return CROWDED
    return DEMOTED if index in demoted(own, rules) else None


def _pairs(links: Links) -> Column:
    """The links of two ends, one a pair whatever their events say of it, each at its first evidence."""
    edges = np.flatnonzero((column(links.right) != NO_END) & (links.kind_column() != _UNLINK))
    edges = edges[np.argsort(column(links.first_time)[edges], kind="stable")]
    _, once = np.unique((column(links.left)[edges] << 32) | column(links.right)[edges], return_index=True)
    return edges[once]


def is_demoted(rules: IdentityRules, identifier: Identifier, bound: Bound, logins: Sequence[tuple[str, int]]) -> bool:
    """Whether an identifier was seen with too many logins.

    Args:
        identifier: the one in question.
        bound: ``demote_after`` of its namespace.
        logins: (namespace, first time with the identifier) of each known identifier it was seen with.
    """
    own = rules.priority(identifier.namespace)
    times: dict[str, list[int]] = {}
    for namespace, time in logins:
        if rules.priority(namespace) > own:
            times.setdefault(namespace, []).append(time)
    return any(bound.is_passed(sorted(of_one)) for of_one in times.values())
