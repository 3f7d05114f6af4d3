"""Protect: from here on no raw identifier, e-mail address or phone number exists in the graph.

Pure: no Beam, no clock. Input: a valid ``Event``; output: ``StrandEvent`` with pseudonyms, or None when no identifier
is usable. Identifiers are normalised, blocked and pseudonymised, other fields minimised (``transforms.minimise``),
consent is carried on as stated. The result does not depend on the order in which the sender listed identifiers, consent
or properties. State: bounded caches, which change no answer. Errors: none.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

from contracts import wire
from contracts.errors import ConfigurationError
from contracts.event import EMPTY_CONTEXT, Event, Identifier
from contracts.exchange import ShardInput, StrandEvent
from transforms.identity.ids import shard_of
from transforms.identity.rules import IdentityRules
from transforms.identity.values import MAX_LENGTH
from transforms.minimise import FieldFilter, is_personal, scrub_text, scrubbed

_T = TypeVar("_T")

_PSEUDONYM_BYTES = 16
_CACHE_LIMIT = 200_000
_EVENT_ID = "wayline.event_id"
"""Namespace under which an event_id that holds a personal datum is hashed; no sender's, as it is reserved."""

_COUNTRY = re.compile(r"[A-Za-z]{2,3}")
_LOCALE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z]{4})?(?:[-_](?:[A-Za-z]{2}|\d{3}))?(?:[-_][A-Za-z]{5,8})?", re.ASCII)
_TIME_ZONE = re.compile(r"[A-Za-z]{2,12}(?:/[A-Za-z_-]{2,20}){0,2}|Etc/GMT[+-]?\d{1,2}|[A-Z]{3}\d[A-Z]{3}", re.ASCII)
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_PURPOSE = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,63}")


class Pseudonymiser:
    """HMAC-SHA256 of an identifier's value under a key derived for its namespace, cut to 128 bits, as 32 hex digits.

    The same value in two namespaces has unrelated pseudonyms. The value is taken as it is: normalise it first
    (``IdentityRules.normalise``). State: a bounded cache, which changes no answer.

    Args:
        key: the pseudonym key, at least 16 bytes; see ``transforms.keys``.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < 16:
            raise ConfigurationError("pseudonym key", None, f"has {len(key)} bytes; at least 16 are needed")
        self._key = key
        self._of_namespace: dict[str, hmac.HMAC] = {}
        self._cache: dict[Identifier, Identifier] = {}

    def __reduce__(self) -> tuple[type[Pseudonymiser], tuple[bytes]]:
        return (Pseudonymiser, (self._key,))

    def forget(self) -> None:
        """Give the cache's memory back."""
        self._cache.clear()

    def pseudonym(self, identifier: Identifier) -> Identifier:
        """The pseudonymised identifier, in the same namespace."""
        known = self._cache.get(identifier)
        if known is not None:
            return known
        namespace, value = identifier
        keyed = self._of_namespace.get(namespace)
        if keyed is None:
            namespace_key = hmac.digest(self._key, b"wayline pseudonym\0" + namespace.encode(), "sha256")
            keyed = self._of_namespace[namespace] = hmac.new(namespace_key, digestmod="sha256")
        # a copy: hmac.digest lets another thread have the interpreter, and waits for it, for two microseconds of work
        mac = keyed.copy()
        # surrogatepass: a value that is no legal text must not stop the stream; Avro refuses it long before
        mac.update(value.encode("utf-8", "surrogatepass"))
        made = Identifier(namespace, mac.digest()[:_PSEUDONYM_BYTES].hex())
        if len(self._cache) >= _CACHE_LIMIT:
            self._cache.clear()
        self._cache[identifier] = made
        return made


# --- the event -----------------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """Where events with one set of identifiers go: their pseudonyms, strand and shard."""

    identifiers: tuple[Identifier, ...]
    primary: Identifier
    login: Identifier | None
    shard: bytes


class Protected(NamedTuple):
    """A protected event and where it goes."""

    place: Place
    event: StrandEvent


class _Remembered(dict[str, _T]):
    """What a function says of each text, for texts of which there are few. Bounded."""

    def __init__(self, say: Callable[[str], _T]) -> None:
        super().__init__()
        self._say = say

    def __missing__(self, text: str) -> _T:
        if len(self) >= _CACHE_LIMIT // 4:
            self.clear()
        said = self[text] = self._say(text)
        return said


def _of_form(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    """Whether a text is what its field should hold, and nothing else."""
    return lambda text: pattern.fullmatch(text) is not None and not is_personal(text)


class Protector:
    """Turns valid events into protected ones.

    Args:
        rules: normalise and block identifiers, and say which strand they make.
        pseudonymiser: the key.
        fields: the allow-list.
        shards: number of strand shards.
    """

    def __init__(
        self, rules: IdentityRules, pseudonymiser: Pseudonymiser, fields: FieldFilter | None = None, shards: int = 64
    ) -> None:
        self._rules = rules
        self._pseudonymiser = pseudonymiser
        self._fields = fields or FieldFilter()
        self._shards = shards
        self._places: dict[tuple[Identifier, ...], Place | None] = {}
        self._texts = _Remembered(scrubbed)
        self._countries = _Remembered(_of_form(_COUNTRY))
        self._locales = _Remembered(_of_form(_LOCALE))
        self._time_zones = _Remembered(_of_form(_TIME_ZONE))
        self._purposes = _Remembered(_of_form(_PURPOSE))

    @property
    def remembered(self) -> int:
        """Answers kept for events that come with the same identifiers."""
        return len(self._places)

    def forget(self) -> None:
        """Give the memory of what is remembered back; no answer changes."""
        self._places.clear()
        self._pseudonymiser.forget()

    def place(self, identifiers: tuple[Identifier, ...]) -> Place | None:
        """Normalise, block, pseudonymise and place; None when no identifier that may link is left.

        Most customers send many events with the same identifiers, so the answer is remembered; not that of a long
        one, as many of them would fill the memory.
        """
        try:
            return self._places[identifiers]
        except KeyError:
            made = self._make_place(identifiers)
            if all(len(value) <= MAX_LENGTH for _, value in identifiers):
                if len(self._places) >= _CACHE_LIMIT // 4:
                    self._places.clear()
                self._places[identifiers] = made
            return made

    def place_of(self, event: Event) -> Place | None:
        """``place`` of an event. One that asks for a merge or an unlink may name pseudonyms; see ``PSEUDONYM_PREFIX``.

        Whoever may send requests could name the raw identifiers as well, and learns nothing from a pseudonym.
        """
        if not self._rules.is_request(event.name):
            return self.place(event.identifiers)
        shown = [(identifier, self._rules.pseudonym_of(identifier)) for identifier in event.identifiers]
        raw = (self._rules.normalise(identifier) for identifier, pseudonym in shown if pseudonym is None)
        found = {pseudonym for _, pseudonym in shown if pseudonym is not None}
        found.update(self._pseudonymiser.pseudonym(normal) for normal in raw if normal is not None)
        return self._placed(tuple(sorted(found)), event.name)

    def _make_place(self, identifiers: Iterable[Identifier]) -> Place | None:
        normal = {n for n in map(self._rules.normalise, identifiers) if n is not None}
        return self._placed(tuple(sorted(map(self._pseudonymiser.pseudonym, normal))), "")

    def _placed(self, pseudonyms: tuple[Identifier, ...], name: str) -> Place | None:
        key = self._rules.strand_of(pseudonyms, name)
        if key is None:
            return None
        return Place(pseudonyms, key.primary, key.login, shard_of(key.primary, self._shards))

    def protect(self, event: Event, source: str) -> Protected | None:
        """The protected event; None when it has no usable identifier.

        Args:
            event: a valid event.
            source: the source as the ledger counts it.
        """
        place = self.place_of(event)
        if place is None:
            return None
        fields = self._fields_of(event, place.identifiers)
        return Protected(
            place,
            StrandEvent(
                fields["event_id"],
                event.event_time,
                event.received_time,
                self._texts[source],
                place.primary,
                place.login,
                wire.pack(fields),
                logout=self._rules.is_logout(event.name),
            ),
        )

    def event_id(self, event_id: str) -> str:
        """The event_id; a hash of it, the same in every run, when it holds a personal datum."""
        if is_personal(event_id):
            return self._pseudonymiser.pseudonym(Identifier(_EVENT_ID, event_id)).value
        return event_id

    def _fields_of(self, event: Event, identifiers: tuple[Identifier, ...]) -> dict[str, Any]:
        """The event as ``wire`` has it, in the order of its fields; what is at its default is left out.

        A field with a form of its own (country, locale, time zone, trace, purposes of consent) is dropped when it has
        another one; other texts are scrubbed. A dictionary costs a tenth of an ``Event`` here, and the bytes are the
        same.
        """
        fields: dict[str, Any] = {
            "event_id": self.event_id(event.event_id),
            "name": self._texts[event.name],
            "event_time": event.event_time,
            "received_time": event.received_time,
            "source": self._texts[event.source],
            "channel": self._texts[event.channel],
            "identifiers": identifiers,
        }
        if event.tracker_session_id is not None:
            fields["tracker_session_id"] = scrub_text(event.tracker_session_id)
        if event.action_id is not None:
            fields["action_id"] = scrubbed(event.action_id)
        if event.context is not EMPTY_CONTEXT:
            context = self._fields.context(event.context)
            if context:
                fields["context"] = context
        if event.device_class is not None:
            fields["device_class"] = self._texts[event.device_class]
        if event.locale is not None and self._locales[event.locale]:
            fields["locale"] = event.locale
        if event.time_zone is not None and self._time_zones[event.time_zone]:
            fields["time_zone"] = event.time_zone
        if event.country is not None and self._countries[event.country]:
            fields["country"] = event.country
        if event.consent:
            consent = {p: event.consent[p] for p in sorted(event.consent) if self._purposes[p]}
            if consent:
                fields["consent"] = consent
        if event.correlation_id is not None:
            fields["correlation_id"] = scrub_text(event.correlation_id)
        if event.traceparent is not None and _TRACEPARENT.fullmatch(event.traceparent):
            fields["traceparent"] = event.traceparent
        if event.properties:
            properties = self._fields.properties(event.properties)
            if properties:
                fields["properties"] = properties
        if event.schema_version != 1:
            fields["schema_version"] = event.schema_version
        if event.mapping_version is not None:
            fields["mapping_version"] = self._texts[event.mapping_version]
        return fields


class ShardBatcher:
    """Collects strand events per shard into packed ``ShardInput`` batches: a bounded runner keeps every element.

    They are packed here, once: each stage and shuffle that they pass would decode and encode them again otherwise.
    State: at most ``per_shard`` events a shard and ``in_all`` together, until ``drain``.
    """

    def __init__(self, per_shard: int = 2_000, in_all: int = 40_000) -> None:
        self._per_shard = per_shard
        self._in_all = in_all
        self._waiting: dict[bytes, list[StrandEvent]] = {}
        self._count = 0

    def add(self, shard: bytes, event: StrandEvent) -> list[tuple[bytes, bytes]]:
        """Take one event; the batches that are full now, usually none."""
        waiting = self._waiting.get(shard)
        if waiting is None:
            waiting = self._waiting[shard] = []
        waiting.append(event)
        self._count += 1
        if len(waiting) >= self._per_shard:
            del self._waiting[shard]
            self._count -= len(waiting)
            return [(shard, _packed(waiting))]
        return self.drain() if self._count >= self._in_all else []

    def drain(self) -> list[tuple[bytes, bytes]]:
        """Everything that waits, in order of shard."""
        batches = [(shard, _packed(events)) for shard, events in sorted(self._waiting.items())]
        self._waiting.clear()
        self._count = 0
        return batches


def _packed(events: list[StrandEvent]) -> bytes:
    return wire.pack_compressed(ShardInput(events=tuple(events)))
