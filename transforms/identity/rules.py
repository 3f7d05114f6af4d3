"""The rules of identity: what an identifier is, what blocks it, what it links, what an event asks for.

Pure and total: no Beam, no state. Input: the identifiers and the name of an event. Output: normalised identifiers,
strand keys and links. Times are UTC microseconds of event time. ``rules_file`` reads the rules.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from contracts.event import Identifier
from contracts.exchange import MERGE, SEEN, UNLINK, Link
from transforms.identity.values import MAX_LENGTH, MAX_LENGTH_SENT, NORMALISERS, sha256

DEVICE, KNOWN = "device", "known"
LOGOUT = "logout"
"""What an event says that ends the login on its device. No kind of link: only the strand of the device needs it."""
LAST_KNOWN, FIRST_KNOWN, KEEP_APART = "last_known", "first_known", "keep_apart"
CARRY_FORWARD, CARRY_VISIT, CARRY_BACK = "carry_forward", "carry_visit", "carry_back"
CARRYING: Final = (CARRY_FORWARD, CARRY_VISIT, CARRY_BACK)
"""Policies under which a shared device is each login's in turn; ``transforms.identity.carry`` says how."""
OWNER_POLICIES: Final = (LAST_KNOWN, FIRST_KNOWN, KEEP_APART, *CARRYING)

PSEUDONYM_PREFIX: Final = "wayline.pseudonym."
"""Before a namespace: the value is its pseudonym already, as the tables show it. Requests alone may write so; to any
other event it is an unknown namespace, which counts for nothing. No configured namespace can have a dot."""
_PSEUDONYM = re.compile(r"[0-9a-f]{32}")

Pair = tuple[Identifier, Identifier | None, str]
"""The ends of a link and its kind."""


_REQUESTS = (MERGE, UNLINK)


class StrandKey(NamedTuple):
    """What strand an event belongs to: its primary identifier, and its login if it names one beside it."""

    primary: Identifier
    login: Identifier | None


@dataclass(frozen=True, slots=True)
class Bound:
    """At most ``values`` of something; with ``within`` (microseconds) at most so many in any stretch of that length."""

    values: int
    within: int | None = None

    def is_passed(self, times: Sequence[int]) -> bool:
        """Whether there are too many. ``times``: when each was first seen, ascending."""
        extra = len(times) - self.values
        if extra <= 0 or self.within is None:
            return extra > 0
        return any(times[i + self.values] - times[i] <= self.within for i in range(extra))


@dataclass(frozen=True, slots=True)
class Carry:
    """How a device is carried: one of ``CARRYING``, and the silence that ends a visit, in microseconds."""

    policy: str
    visit_gap: int


@dataclass(frozen=True, slots=True)
class Namespace:
    """The rules of one namespace.

    ``limit`` bounds how many values of it a person may have (1 is ``unique: true``), None for no bound. ``target`` is
    the namespace its identifiers become. ``owner`` matters for devices only. ``demote_after`` bounds the logins that an
    identifier of it may be seen with before it links nothing any more.
    """

    name: str
    kind: str
    priority: int
    links: bool
    limit: Bound | None
    normalise: tuple[str, ...]
    target: str
    blocked_values: frozenset[str]
    blocked_patterns: tuple[re.Pattern[str], ...]
    owner: str
    demote_after: Bound | None


@dataclass(frozen=True, slots=True)
class IdentityRules:
    """All rules, with the answers that events need. Made by ``rules_file.load_rules``.

    Args:
        name: what the file calls itself.
        version: ``name@hash`` of the file's content.
        namespaces: by name.
        component_size: identifiers that one person may have.
        crowd: an identifier seen with more others than this links nothing.
        erase_events: event names that ask for erasure.
        kinds: event name to what it says of the identifiers it names, where that is not ``seen``.
        alias_overrides: an alias holds where a limit would refuse it, as a merge does.
        visit_gap: silence that ends a visit of a device, in microseconds.
    """

    name: str
    version: str
    namespaces: Mapping[str, Namespace]
    component_size: int
    crowd: int
    erase_events: frozenset[str]
    kinds: Mapping[str, str]
    alias_overrides: bool
    visit_gap: int
    _devices: Mapping[str, int] = field(repr=False)
    _known: Mapping[str, int] = field(repr=False)

    def normalise(self, identifier: Identifier) -> Identifier | None:
        """The identifier as it counts, or None when it is blocked, empty, too long or of an unknown namespace."""
        rules = self.namespaces.get(identifier.namespace)
        if rules is None:
            return None
        value = identifier.value
        if len(value) > MAX_LENGTH_SENT:
            return None
        if not value.isascii():
            value = unicodedata.normalize("NFC", value)
        hashed = False
        for step in rules.normalise:
            if step == "sha256":
                hashed = True
            else:
                value = NORMALISERS[step](value)
        if not value.isascii():
            # a lower-case letter and its mark may be one character where the upper-case ones are two
            value = unicodedata.normalize("NFC", value)
        if len(value) > MAX_LENGTH:
            return None
        if value.strip().lower() in rules.blocked_values:
            return None
        for pattern in rules.blocked_patterns:
            if pattern.fullmatch(value):
                return None
        return Identifier(rules.target, sha256(value) if hashed else value)

    def strand_key(self, identifiers: Iterable[Identifier]) -> StrandKey | None:
        """The strand of an event with these (normalised) identifiers; None when none of them may link.

        The primary is the most device-like linking identifier, the login the best known one. Without a device the
        best known identifier is the primary and the strand has no login, since that would say the same twice. Among
        several values of one namespace the least counts, so the order of identifiers on the event does not matter.
        """
        devices, knowns = self._devices, self._known
        device: Identifier | None = None
        login: Identifier | None = None
        device_rank = login_rank = 0
        for identifier in identifiers:
            rank = devices.get(identifier[0])
            if rank is not None:
                if device is None or rank < device_rank or (rank == device_rank and identifier < device):
                    device, device_rank = identifier, rank
                continue
            rank = knowns.get(identifier[0])
            if rank is not None and (login is None or rank > login_rank or (rank == login_rank and identifier < login)):
                login, login_rank = identifier, rank
        if device is not None:
            return StrandKey(device, login)
        return None if login is None else StrandKey(login, None)

    def strand_of(self, identifiers: Iterable[Identifier], name: str) -> StrandKey | None:
        """``strand_key`` of an event by its name: a request concerns a login and was made on no device of it.

        Otherwise an unlink of a device and a login would be one more sighting of the login on the device.
        """
        key = self.strand_key(identifiers)
        if key is not None and key.login is not None and self.is_request(name):
            return StrandKey(key.login, None)
        return key

    def is_request(self, name: str) -> bool:
        """Whether events of this name ask for a merge or an unlink."""
        return self.kinds.get(name) in _REQUESTS

    @property
    def administrative(self) -> frozenset[str]:
        """Names of events that ask something of identity: no doing of the person."""
        return self.erase_events | {name for name in self.kinds if self.is_request(name)}

    def pseudonym_of(self, identifier: Identifier) -> Identifier | None:
        """What an identifier of a request says whose value is a pseudonym already (``PSEUDONYM_PREFIX``).

        None when it is not in that form, or of a namespace that may not link.
        """
        prefix, _, name = identifier.namespace.rpartition(".")
        if f"{prefix}." != PSEUDONYM_PREFIX or not self.links_at_all(name):
            return None
        return Identifier(name, identifier.value) if _PSEUDONYM.fullmatch(identifier.value) else None

    def pairs(self, identifiers: Sequence[Identifier], name: str) -> tuple[Pair, ...]:
        """The links of an event: its login (else its primary) with each other linking identifier, and their kind.

        An event with one linking identifier gives that one alone, so that every identifier is known to resolution.
        """
        key = self.strand_key(identifiers)
        if key is None:
            return ()
        kind = self.kinds.get(name, SEEN)
        left = key.login or key.primary
        if len(identifiers) == 1:
            pairs: tuple[Pair, ...] = ((left, None, SEEN),)
        else:
            devices, knowns = self._devices, self._known
            rights = sorted({i for i in identifiers if i != left and (i[0] in devices or i[0] in knowns)})
            if not rights:
                pairs = ((left, None, SEEN),)
            else:
                said = SEEN if kind == LOGOUT else kind
                pairs = tuple((left, right, said) for right in rights)
        return pairs

    def links(
        self, identifiers: Sequence[Identifier], name: str, event_id: str, event_time: int, received_time: int
    ) -> list[Link]:
        """The links that one event is evidence for. ``identifiers`` are normalised (pseudonyms or not)."""
        erase = event_time if name in self.erase_events else None
        return [
            Link(left, right, event_time, event_id, event_time, event_id, received_time, erase, kind)
            for left, right, kind in self.pairs(identifiers, name)
        ]

    def is_logout(self, name: str) -> bool:
        """Whether an event of this name ends the login on its device."""
        return self.kinds.get(name) == LOGOUT

    def carries(self) -> dict[str, Carry]:
        """How devices of a namespace are carried, for those whose owner policy is to carry."""
        return {
            name: Carry(namespace.owner, self.visit_gap)
            for name, namespace in self.namespaces.items()
            if namespace.owner in CARRYING
        }

    def carry_of(self, namespace: str) -> Carry:
        """How a device of a namespace is carried, if it is: another one of its group may say that it is."""
        rules = self.namespaces.get(namespace)
        return Carry(CARRY_FORWARD if rules is None or rules.owner not in CARRYING else rules.owner, self.visit_gap)

    def is_known(self, namespace: str) -> bool:
        """True for a linking namespace of known identifiers: a login, a contact, a record."""
        return namespace in self._known

    def links_at_all(self, namespace: str) -> bool:
        """True when identifiers of the namespace may link."""
        return namespace in self._known or namespace in self._devices

    def priority(self, namespace: str) -> int:
        """Greater is better known; 0 for a namespace the rules do not have."""
        rules = self.namespaces.get(namespace)
        return 0 if rules is None else rules.priority
