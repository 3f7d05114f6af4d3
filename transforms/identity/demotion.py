"""Demotion: which identifiers are so widely shared that they link nothing: a kiosk, a call centre's phone, a typo.

Pure. An identifier is *demoted* when it was seen with more logins than ``demote_after`` of its namespace allows: with
that many values of one better known namespace, within the given stretch of time where there is one (each value counts
at its first evidence with the identifier). It is *crowded* when it was seen with more than ``crowd`` others, whatever
they are. Both depend on the set of links alone. What it was seen with keeps its person, and what was done with it and
without a login is a person of its own. Times: UTC microseconds of event time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from contracts.event import Identifier
from contracts.exchange import LINK_KINDS, UNLINK
from transforms.identity.graph import NO_END, Column, Links, column
from transforms.identity.rules import Bound, IdentityRules

DEMOTED, CROWDED = "demoted", "crowded"
_UNLINK = LINK_KINDS.index(UNLINK)


def demoted(links: Links, rules: IdentityRules) -> dict[int, str]:
    """The identifiers (by number) that link nothing, and why: ``DEMOTED`` or ``CROWDED``.

    Args:
        links: all links of every identifier in question.
        rules: the rules in force.
    """
    edges = np.flatnonzero((column(links.right) != NO_END) & (links.kind_column() != _UNLINK))
    if not len(edges):
        return {}
    edges = edges[np.argsort(column(links.first_time)[edges], kind="stable")]
    left, right = column(links.left)[edges], column(links.right)[edges]
    # a pair counts once, whatever its events say of it, at its first evidence
    _, once = np.unique((left << 32) | right, return_index=True)
    found = _demoted(links, rules, edges[once])
    degree = np.bincount(np.concatenate((left[once], right[once])), minlength=len(links.identifiers))
    found.update((int(index), CROWDED) for index in np.flatnonzero(degree > rules.crowd))
    return found


def _demoted(links: Links, rules: IdentityRules, edges: Column) -> dict[int, str]:
    bounds = [rules.namespaces[i.namespace].demote_after for i in links.identifiers]
    least = min((bound.values for bound in bounds if bound is not None), default=None)
    if least is None:
        return {}
    left, right = column(links.left)[edges], column(links.right)[edges]
    logins = links.known_column()[left]
    seen = np.bincount(right[logins], minlength=len(bounds))
    found: dict[int, str] = {}
    candidates = np.flatnonzero(seen > least)
    if not len(candidates):
        return found
    of_candidates = np.isin(right, candidates) & logins
    by_identifier: dict[int, list[int]] = {}
    for edge in edges[of_candidates].tolist():
        by_identifier.setdefault(links.right[edge], []).append(edge)
    for index, sightings in by_identifier.items():
        bound = bounds[index]
        if bound is not None and is_demoted(
            rules,
            links.identifiers[index],
            bound,
            [(links.identifiers[links.left[edge]].namespace, links.first_time[edge]) for edge in sightings],
        ):
            found[index] = DEMOTED
    return found


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
