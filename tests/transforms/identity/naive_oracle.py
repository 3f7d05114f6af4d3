"""A second oracle of identity, written from the rules as prose and in the dullest way: sets, loops, no index.

It shares no code with ``transforms.identity`` but the parsed rules file: evidence, demotion, what people asked for,
limits, owners and anchors are each found again by going through everything. Cubic, for small worlds only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from identity_world import Seen

from contracts.event import Identifier
from transforms.identity.rules import IdentityRules

Stamp = tuple[int, str]
Pair = frozenset[Identifier]
Fate = tuple[str, Identifier | None]
"""The rule that decided a link, and the identifier that stood against it."""


@dataclass
class Word:
    """All that events said of one pair (or of one identifier alone) in one way."""

    left: Identifier
    right: Identifier | None
    kind: str
    stamps: list[Stamp] = field(default_factory=list)

    @property
    def ends(self) -> set[Identifier]:
        return {self.left} if self.right is None else {self.left, self.right}

    @property
    def pair(self) -> Pair:
        return frozenset(self.ends)


KINDS = ("seen", "alias", "merge", "unlink")


@dataclass
class Naive:
    """Who is who. ``person`` names a person by the least of its members; ``fate`` says what became of each word."""

    rules: IdentityRules
    words: list[Word]
    demoted: dict[Identifier, str] = field(default_factory=dict)
    fate: dict[tuple[Identifier, Identifier, str], Fate] = field(default_factory=dict)
    sets: list[set[Identifier]] = field(default_factory=list)
    owner: dict[Identifier, Identifier | None] = field(default_factory=dict)
    carried: dict[Identifier, Identifier] = field(default_factory=dict)
    holds: set[tuple[Identifier, Identifier]] = field(default_factory=set)
    """The least members of a person and of a group of devices that may be its."""
    lost: set[tuple[Identifier, Identifier]] = field(default_factory=set)
    """Likewise, of those that an unlink of two devices keeps apart."""

    # --- the questions ----------------------------------------------------------------------------------------------

    def anchor(self, one: Identifier) -> Identifier:
        """The identifier after which the person is named that an identifier belongs to (of its own, if carried)."""
        members = self._person(one)
        return min(members, key=lambda i: (-self._priority(i), self._first_place(i), i))

    def holder(self, one: Identifier) -> Identifier:
        """``anchor``, but a device that is carried forward is held by whoever had it last."""
        return self.anchor(self.carried.get(one, one))

    # --- the answer -------------------------------------------------------------------------------------------------

    def solve(self) -> Naive:
        self.words.sort(key=self._place)
        self._demote()
        merges, bars = self._requests()
        self.sets = [{i} for i in self._all()]
        for word in merges:
            if self._known(word.left) == self._known(word.right):
                self._say(word, *(self._unite(word, bars, forced=True) or ("merge", None)))
        evidence = [w for w in self._free() if self._is_evidence(w) and w.pair not in bars]
        for word in evidence:
            if self._known(word.left) == self._known(word.right):
                done = "united" if self._known(word.left) else "grouped"
                self._say(word, *(self._unite(word, bars) or (done, None)))
        sightings = [w for w in evidence if self._known(w.left) != self._known(w.right)]
        self._own(sightings, [w for w in merges if self._known(w.left) != self._known(w.right)], bars)
        return self

    def _demote(self) -> None:
        for one in self._all():
            others: dict[Identifier, int] = {}
            for word in self.words:
                if word.right is not None and word.kind != "unlink" and one in word.ends:
                    (other,) = word.ends - {one}
                    others[other] = min(others.get(other, word.stamps[0][0]), min(word.stamps)[0])
            bound = self.rules.namespaces[one.namespace].demote_after
            for namespace in {o.namespace for o in others}:
                times = sorted(t for o, t in others.items() if o.namespace == namespace)
                better = self._known(Identifier(namespace, "")) and self.rules.priority(namespace) > self._priority(one)
                if bound is not None and better and self._too_many(times, bound.values, bound.within):
                    self.demoted[one] = "demoted"
            if len(others) > self.rules.crowd:
                self.demoted[one] = "crowded"
        for word in self.words:
            if word.right is not None and word.ends & self.demoted.keys():
                end = word.right if word.right in self.demoted else word.left
                self._say(word, self.demoted[end], end)

    def _requests(self) -> tuple[list[Word], set[Pair]]:
        asked = [w for w in self._free() if not self._is_evidence(w)]
        bars = set()
        for pair in {w.pair for w in asked}:
            newest = max((w for w in asked if w.pair == pair), key=lambda w: (*max(w.stamps), w.kind == "unlink"))
            if newest.kind == "unlink":
                bars.add(pair)
        for word in self._free():
            if word.pair in bars:
                self._say(word, "unlink")
            elif word.kind == "unlink":
                self._say(word, "merge")
        return [w for w in asked if w.kind != "unlink" and w.pair not in bars], bars

    def _unite(self, word: Word, bars: set[Pair], *, forced: bool = False) -> Fate | None:
        assert word.right is not None
        one, other = self._set(word.left), self._set(word.right)
        if one is other:
            return None
        barred = [b for a in one for b in other if frozenset((a, b)) in bars]
        if barred:
            return "barred", min(barred)
        both = one | other
        if len(both) > self.rules.component_size:
            return "component_size", None
        for name, namespace in self.rules.namespaces.items():
            bound = namespace.limit
            if forced or bound is None:
                continue
            values = [i for i in both if i.namespace == name]
            news = {i in one for i in values} == {True, False}  # both sides bring one in
            times = sorted(self._first_time(i) for i in values)
            if news and self._too_many(times, bound.values, bound.within):
                return f"limit:{name}", min(i for i in other if i.namespace == name)
        self.sets = [s for s in self.sets if s is not one and s is not other] + [both]
        return None

    def _own(self, sightings: list[Word], merges: list[Word], bars: set[Pair]) -> None:
        given: dict[Identifier, Identifier] = {}
        newest_first = sorted(merges, key=lambda w: (max(w.stamps), (w.left, w.right)), reverse=True)
        for word in newest_first:
            login, device = self._sides(word)
            against = self._apart(login, device, bars)
            if against is None and device not in given:
                against = self._taken(login, device, bars)
                if against is None and len(self._set(device)) > self._room_of(login, given):
                    self._say(word, "component_size")
                    self.holds.discard((min(self._set(login)), min(self._set(device))))  # a refused merge holds nothing
                    continue
                if against is None:
                    given.update((member, login) for member in self._set(device))
            if against is not None:
                self._say(word, "barred", against)
            elif given[device] in self._set(login):
                self._say(word, "merge")
            else:
                self._say(word, "merged_with_another", given[device])
        kept = []
        for word in sightings:
            login, device = self._sides(word)
            against = self._apart(login, device, bars)
            if against is None and device not in given:
                against = self._taken(login, device, bars)
            if against is not None:
                self._say(word, "barred", against)
            else:
                kept.append(word)
        kept = self._within_size(kept, given)
        for group in [s for s in self.sets if not self._known(min(s))]:
            seen = [(w, self._sides(w)[0]) for w in kept if self._sides(w)[1] in group]
            self._own_group(group, seen, given.get(min(group)))

    def _room_of(self, login: Identifier, given: dict[Identifier, Identifier]) -> int:
        """How many more identifiers the login's person may have beside the devices that were merged with it."""
        person = self._set(login)
        return self.rules.component_size - len(person) - sum(one in person for one in given.values())

    def _within_size(self, sightings: list[Word], given: dict[Identifier, Identifier]) -> list[Word]:
        kept = list(sightings)
        for person in [s for s in self.sets if self._known(min(s))]:
            room = self._room_of(min(person), given)
            decided: dict[Identifier, bool] = {}
            for word in sightings:
                login, device = self._sides(word)
                if login not in person or given.get(device) in person:
                    continue
                group = self._set(device)
                if min(group) not in decided:
                    decided[min(group)] = len(group) <= room
                    room -= len(group) if len(group) <= room else 0
                if not decided[min(group)]:
                    self._say(word, "component_size")
                    kept.remove(word)
        return kept

    def _own_group(self, group: set[Identifier], seen: list[tuple[Word, Identifier]], given: Identifier | None) -> None:
        policy = self.rules.namespaces[min(group, key=lambda i: (self._priority(i), i)).namespace].owner
        persons = {min(self._set(login)) for _, login in seen}
        owner: Identifier | None = None
        rule = policy
        if given is not None:
            owner, rule = given, "merged_with_another"
        elif len(persons) == 1 or (seen and policy == "first_known"):
            owner = seen[0][1]
        elif seen and (policy == "last_known" or policy.startswith("carry")):
            last = max(seen, key=lambda s: (max(s[0].stamps), (s[0].left, s[0].right)))[1]
            if policy == "last_known":
                owner = last
            else:
                self.carried.update((device, last) for device in group)
        alone = len(persons) == 1 and given is None and owner is not None
        for word, login in seen:
            if owner is not None and login in self._set(owner):
                self._say(word, "only_person" if alone else "owner")
            else:
                self._say(word, rule, given)
        for device in group:
            self.owner[device] = owner

    # --- small questions --------------------------------------------------------------------------------------------

    def _all(self) -> list[Identifier]:
        return sorted({i for w in self.words for i in w.ends})

    def _free(self) -> list[Word]:
        return [w for w in self.words if w.right is not None and not w.ends & self.demoted.keys()]

    def _person(self, one: Identifier) -> set[Identifier]:
        mine = self.owner.get(one) or one
        known = self._set(mine)
        return known | {d for d, o in self.owner.items() if o is not None and o in known}

    def _set(self, one: Identifier) -> set[Identifier]:
        return next(s for s in self.sets if one in s)

    def _sides(self, word: Word) -> tuple[Identifier, Identifier]:
        assert word.right is not None
        return (word.left, word.right) if self._known(word.left) else (word.right, word.left)

    def _apart(self, login: Identifier, device: Identifier, bars: set[Pair]) -> Identifier | None:
        """The least member of the login's person that was unlinked from a member of the device's group."""
        against = [a for a in self._set(login) for b in self._set(device) if frozenset((a, b)) in bars]
        return min(against, default=None)

    def _taken(self, login: Identifier, device: Identifier, bars: set[Pair]) -> Identifier | None:
        """The least device of the login's person that was unlinked from one of this device's group.

        Where there is none the person takes the group.
        """
        person, group = min(self._set(login)), min(self._set(device))
        against = [
            one
            for one in self._all()
            if (person, min(self._set(one))) in self.holds
            and any(frozenset((one, other)) in bars for other in self._set(device))
        ]
        (self.lost if against else self.holds).add((person, group))
        return min(against, default=None)

    def _is_evidence(self, word: Word) -> bool:
        return word.kind == "seen" or (word.kind == "alias" and not self.rules.alias_overrides)

    def _known(self, one: Identifier | None) -> bool:
        return one is not None and self.rules.namespaces[one.namespace].kind == "known"

    def _priority(self, one: Identifier) -> int:
        return self.rules.namespaces[one.namespace].priority

    def _place(self, word: Word) -> tuple[Stamp, Identifier, Identifier, int]:
        return (min(word.stamps), word.left, word.right or word.left, KINDS.index(word.kind))

    def _first_place(self, one: Identifier) -> int:
        return min(n for n, w in enumerate(self.words) if one in w.ends)

    def _first_time(self, one: Identifier) -> int:
        return min(min(w.stamps)[0] for w in self.words if one in w.ends)

    @staticmethod
    def _too_many(times: list[int], values: int, within: int | None) -> bool:
        return any(sum(t <= u and (within is None or u - t <= within) for t in times) > values for u in times)

    def _say(self, word: Word, rule: str, conflict: Identifier | None = None) -> None:
        assert word.right is not None
        self.fate[word.left, word.right, word.kind] = (rule, conflict)


def words_of(events: Iterable[Seen], rules: IdentityRules) -> list[Word]:
    """What each event says: its best known identifier, else its most device-like one, beside each other one."""
    words: dict[tuple[Identifier, Identifier | None, str], Word] = {}
    for event in events:
        linking = sorted({i for i in event.identifiers if rules.namespaces[i.namespace].links})
        known = [i for i in linking if rules.namespaces[i.namespace].kind == "known"]
        devices = [i for i in linking if rules.namespaces[i.namespace].kind == "device"]
        if not linking:
            continue
        login = min(known, key=lambda i: (-rules.priority(i.namespace), i), default=None)
        device = min(devices, key=lambda i: (rules.priority(i.namespace), i), default=None)
        left = login or device
        assert left is not None
        said = next((kind for kind in KINDS if event.name == kind), "seen")
        saying: list[tuple[Identifier | None, str]] = []
        for right in linking:
            if right != left:
                saying.append((right, said))
        if not saying:
            saying.append((None, "seen"))
        for right, kind in saying:
            words.setdefault((left, right, kind), Word(left, right, kind)).stamps.append((event.time, event.id))
    return list(words.values())


def covered(words: Iterable[Word], rules: IdentityRules, until: int, requester: Identifier) -> set[Identifier]:
    """Whose events one request for erasure covers, from what had been said for the first time by then."""
    then = Naive(rules, [Word(w.left, w.right, w.kind, [min(w.stamps)]) for w in words if min(w.stamps)[0] <= until])
    then.solve()
    bars = {w.pair for w in then.words if then.fate.get((w.left, w.right or w.left, w.kind)) == ("unlink", None)}
    seen = []
    for word in then.words:
        if word.right is None or word.ends & then.demoted.keys() or then._known(word.left) == then._known(word.right):
            continue
        login, device = then._sides(word)
        lost = (min(then._set(login)), min(then._set(device))) in then.lost
        if not lost and then._apart(login, device, bars) is None:
            seen.append((login, device))

    def persons_of(group: set[Identifier]) -> list[Identifier]:
        return [min(then._set(login)) for login, device in seen if device in group]

    def devices_of(person: set[Identifier]) -> set[Identifier]:
        found = set()
        for group in [s for s in then.sets if not then._known(min(s))]:
            persons = persons_of(group)
            policy = rules.namespaces[min(group, key=lambda i: (then._priority(i), i)).namespace].owner
            first = persons[:1] == [min(person)]
            alone = len(set(persons)) == 1
            if min(person) in persons and (alone or policy == "last_known" or (policy == "first_known" and first)):
                found |= group
        return found

    own = then._set(requester)
    if then._known(requester):
        return own | devices_of(own)
    if len(set(persons_of(own))) == 1:
        person = then._set(persons_of(own)[0])
        return own | person | devices_of(person)
    return own


def naive(events: Iterable[Seen], rules: IdentityRules) -> tuple[Naive, dict[Identifier, int]]:
    """Resolve events: who is who after erasure, and up to when whose events are erased."""
    events = list(events)
    words = words_of(events, rules)
    erased: dict[Identifier, int] = {}
    for event in events:
        if event.name in rules.erase_events:
            for requester in {word.left for word in words_of([event], rules)}:
                for one in covered(words, rules, event.time, requester):
                    erased[one] = max(event.time, erased.get(one, event.time))
    kept = []
    for word in words:
        until = erased.get(word.left)
        left = [stamp for stamp in word.stamps if until is None or stamp[0] > until]
        if left:
            kept.append(Word(word.left, word.right, word.kind, left))
    return Naive(rules, kept).solve(), erased
