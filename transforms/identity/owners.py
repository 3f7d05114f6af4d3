"""Owners: to which person the login-less events of a device, or of devices seen together, belong.

Pure. Input: groups of devices and persons by the roots of ``union.Union``, and the links between a device and a known
identifier (sightings) in their order. Output: the owner of each group, the groups that are carried forward, and a
verdict on every sighting.

A person that someone merged with a device of the group owns it, as far as ``component_size`` leaves it room; of several
merges the newest counts, and has room first. Otherwise: a person
is no candidate that was unlinked from a member, that has a group from which a member was unlinked (its merges before
what it was seen with, the newest first; then the group that it was seen with first), or that has been seen with more
devices than ``component_size`` leaves room for (those seen first count). One candidate owns the group; among several
the owner policy of its most device-like namespace chooses. Under a policy that carries, a group with several belongs to
nobody: its events go to each login in turn.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from contracts.event import Identifier
from transforms.identity.graph import NO_END, Column, Links, column
from transforms.identity.rules import CARRYING, FIRST_KNOWN, LAST_KNOWN, IdentityRules
from transforms.identity.union import BARRED, COMPONENT_SIZE, Refusal, Union

ONLY_PERSON, OWNER, MERGED = "only_person", "owner", "merge"
MERGED_WITH_ANOTHER = "merged_with_another"


@dataclass(slots=True)
class Verdict:
    """What became of each link: a rule, and for some the identifier that stood against it."""

    rules: list[str]
    conflicts: dict[int, int] = field(default_factory=dict)

    def accept(self, edge: int, rule: str) -> None:
        self.rules[edge] = rule

    def refuse(self, edge: int, rule: str, conflict: int) -> None:
        self.rules[edge] = rule
        if conflict != NO_END:
            self.conflicts[edge] = conflict

    def settle(self, edge: int, refusal: Refusal | None, accepted: str) -> None:
        if refusal is None:
            self.accept(edge, accepted)
        else:
            self.refuse(edge, *refusal)


class Owners:
    """Decides once; see the module.

    Args:
        links, rules, union: what is resolved.
        roots: the root of each identifier.
        sightings: links between a device and a known identifier, in their order.
        forced: merges of a device and a known identifier.
        verdict: gets the verdicts.
    """

    def __init__(
        self,
        links: Links,
        rules: IdentityRules,
        union: Union,
        roots: Column,
        sightings: Column,
        forced: Sequence[int],
        verdict: Verdict,
    ) -> None:
        self.carried: dict[int, int] = {}
        self._links, self._rules, self._union, self._roots, self._verdict = links, rules, union, roots, verdict
        self._forced = forced
        self._newest_merge: dict[int, int] = {}
        self._held: defaultdict[int, set[int]] = defaultdict(set)
        """The groups of each person of which it is a candidate, of those that a bar concerns."""
        self._room: dict[int, int] = {}
        """How many more identifiers a person may have that someone merged with a group."""
        self._owner = np.full(len(links.identifiers), NO_END)
        self._take(sightings)

    def _take(self, sightings: Column) -> None:
        left, right = column(self._links.left)[sightings], column(self._links.right)[sightings]
        login_left = self._links.known_column()[left]
        self._edges = sightings
        self._group = self._roots[np.where(login_left, right, left)]
        self._person = self._roots[np.where(login_left, left, right)]

    def decide(self) -> Column:
        """The owner of each group by its root; ``NO_END`` for none."""
        merged = self._merge()
        self._drop_barred(merged)
        self._keep_within_size(merged)
        group, person, edges = self._group, self._person, self._edges
        count = len(self._owner)
        least, most = np.full(count, count), np.full(count, NO_END)
        np.minimum.at(least, group, person)
        np.maximum.at(most, group, person)
        special = np.zeros(count, dtype=np.bool_)
        special[list(merged)] = True
        alone = (least == most)[group] & ~special[group]
        self._owner[group[alone]] = person[alone]
        for edge in edges[alone].tolist():
            self._verdict.accept(edge, ONLY_PERSON)
        several: dict[int, list[tuple[int, int]]] = {}
        for root, edge, holder in zip(
            group[~alone].tolist(), edges[~alone].tolist(), person[~alone].tolist(), strict=True
        ):
            several.setdefault(root, []).append((edge, holder))
        for root, seen in several.items():
            self._owner[root] = self._choose(root, seen, merged.get(root))
        for root, holder in merged.items():
            self._owner[root] = holder
        return self._owner

    # --- who may own ------------------------------------------------------------------------------------------------

    def _merge(self) -> dict[int, int]:
        """Groups that someone merged with a person; of several words, and of groups kept apart, the newest counts."""
        merged, newest, given = dict[int, int](), dict[int, int](), list[tuple[int, int, int]]()
        for edge in self._forced:
            group, person = self._ends(edge)
            barred = self._barred(group, person)
            if barred != NO_END:
                self._verdict.refuse(edge, BARRED, barred)
                continue
            given.append((edge, group, person))
        for edge, group, person in sorted(given, key=lambda g: self._last(g[0]), reverse=True):
            if group not in merged:
                rival = self._rival(group, person)
                if rival != NO_END:
                    self._verdict.refuse(edge, BARRED, rival)
                    continue
                room = self._room.setdefault(person, self._rules.component_size - self._union.size[person])
                if self._union.size[group] > room:
                    self._verdict.refuse(edge, COMPONENT_SIZE, NO_END)
                    continue
                self._room[person] = room - self._union.size[group]
                newest[group], merged[group] = edge, person
                self._held[person].add(group)
            if merged[group] == person:
                self._verdict.accept(edge, MERGED)
            else:
                self._verdict.refuse(edge, MERGED_WITH_ANOTHER, self._known_end(newest[group]))
        self._newest_merge = newest
        return merged

    def _last(self, edge: int) -> tuple[int, str, tuple[Identifier, Identifier]]:
        return (self._links.last_time[edge], self._links.last_id[edge], self._links.ends(edge))

    def _known_end(self, edge: int) -> int:
        left = self._links.left[edge]
        return left if self._links.known[left] else self._links.right[edge]

    def _ends(self, edge: int) -> tuple[int, int]:
        left, right = self._links.left[edge], self._links.right[edge]
        known, device = (left, right) if self._links.known[left] else (right, left)
        return int(self._roots[device]), int(self._roots[known])

    def _barred(self, group: int, person: int) -> int:
        """The member of the person that was unlinked from a member of the group; ``NO_END`` for none."""
        partners = [p for _, p in self._union.barred_pairs(group) if self._union.find(p) == person]
        return min(partners, key=self._links.identifiers.__getitem__, default=NO_END)

    def _rival(self, group: int, person: int) -> int:
        """The device that was unlinked from a member of the group and is the person's; ``NO_END`` for none."""
        held = self._held.get(person, ())
        partners = [p for _, p in self._union.barred_pairs(group) if self._union.find(p) in held]
        return min(partners, key=self._links.identifiers.__getitem__, default=NO_END)

    def _drop_barred(self, merged: dict[int, int]) -> None:
        """Drop the sightings that would bring both ends of an unlink together, in the order of sightings.

        A merged group is its owner's whoever else was seen with it, so such a sighting keeps no other group away.
        """
        groups = self._union.barred_roots()
        if not groups:
            return
        dropped = np.zeros(len(self._edges), dtype=np.bool_)
        for position in np.flatnonzero(np.isin(self._group, groups)).tolist():
            group, person = int(self._group[position]), int(self._person[position])
            partner = self._barred(group, person)
            if partner == NO_END and group not in merged:
                partner = self._rival(group, person)
                if partner == NO_END:
                    self._held[person].add(group)
            if partner != NO_END:
                self._verdict.refuse(int(self._edges[position]), BARRED, partner)
                dropped[position] = True
        self._take(self._edges[~dropped])

    def _keep_within_size(self, merged: Mapping[int, int]) -> None:
        """Drop the sightings for which a person has no room, those of the groups it was first seen with last.

        What someone merged with the person has its room already.
        """
        size, limit = column(self._union.size), self._rules.component_size
        count = len(size)
        _, first = np.unique(self._person * count + self._group, return_index=True)
        first = first[[merged.get(int(self._group[n]), NO_END) != self._person[n] for n in first]] if merged else first
        total = np.bincount(self._person[first], weights=size[self._group[first]], minlength=count) + size
        for person, left in self._room.items():
            total[person] += limit - size[person] - left
        if not (total[self._person[first]] > limit).any():
            return
        room: dict[int, int] = {}
        refused: set[tuple[int, int]] = set()
        for position in np.sort(first).tolist():
            person, group = int(self._person[position]), int(self._group[position])
            if total[person] > limit:
                left = room.setdefault(person, self._room.get(person, limit - int(size[person])))
                if size[group] > left:
                    refused.add((person, group))
                else:
                    room[person] = left - int(size[group])
        dropped = np.zeros(len(self._edges), dtype=np.bool_)
        for position in np.flatnonzero(total[self._person] > limit).tolist():
            if (int(self._person[position]), int(self._group[position])) in refused:
                self._verdict.refuse(int(self._edges[position]), COMPONENT_SIZE, NO_END)
                dropped[position] = True
        self._take(self._edges[~dropped])

    # --- who does ---------------------------------------------------------------------------------------------------

    def _policy(self, group: int) -> str:
        """The owner policy of the most device-like member, the least where several are."""
        identifiers, priority = self._links.identifiers, self._rules.priority
        device = min(self._union.circle(group), key=lambda i: (priority(identifiers[i].namespace), identifiers[i]))
        return self._rules.namespaces[identifiers[device].namespace].owner

    def _choose(self, group: int, seen: list[tuple[int, int]], merged: int | None) -> int:
        """The owner of a group; ``seen`` are (edge, person) in the order of edges."""
        _, last = max(seen, key=lambda s: self._last(s[0]))
        policy, conflict = self._policy(group), NO_END
        if merged is not None:
            owner, policy, conflict = merged, MERGED_WITH_ANOTHER, self._known_end(self._newest_merge[group])
        elif policy == LAST_KNOWN:
            owner = last
        elif policy == FIRST_KNOWN:
            owner = seen[0][1]
        else:
            owner = NO_END
            if policy in CARRYING:
                self.carried[group] = last
        for edge, person in seen:
            if person == owner:
                self._verdict.accept(edge, OWNER)
            else:
                self._verdict.refuse(edge, policy, conflict)
        return owner
