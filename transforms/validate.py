"""Validate: what every event must be before anything is done with it.

Pure: no Beam, no clock. Input: ``Event``; output: ``Verdict``. An event is rejected with one reason, the first that
holds in the order below, or kept, perhaps with flags. No value is mended or guessed. Times are UTC microseconds.
Errors: none.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from contracts.event import CONTEXT_FIELDS, EMPTY_CONTEXT, HOUR, MINUTE, SOURCE_TEXTS, Event

YEAR_2000 = 946_684_800_000_000
YEAR_2100 = 4_102_444_800_000_000

CHANNELS = frozenset({"web", "app", "email", "ads", "call", "store", "crm", "other"})

RESERVED_PREFIX = "wayline."
FLAGS_PROPERTY = "wayline.flags"
"""Property that carries the flags of a kept event, as text, separated by commas. Senders cannot set it."""

FLAGS: dict[str, str] = {
    "unknown_name": "The ontology does not name this event: it is kept and shows no behaviour.",
    "unknown_channel": "The channel is none of the known ones: it is kept as stated.",
}

_MAX_ID, _MAX_NAME, _MAX_IDENTIFIERS, _MAX_PROPERTIES = 512, 200, 64, 1_000
_FIXED_SIZE = 160
"""What an event takes besides its texts, roughly."""

_context_texts = attrgetter(*CONTEXT_FIELDS)
_optional_texts = attrgetter(*SOURCE_TEXTS, "mapping_version")


class Verdict(NamedTuple):
    """``reason`` is None for a kept event, else a code of ``transforms.dead_letter.REASONS``; flags only when kept."""

    reason: str | None
    detail: str = ""
    flags: tuple[str, ...] = ()


KEPT = Verdict(None)
_UNKNOWN_NAME = Verdict(None, "", ("unknown_name",))


def _knows_all(name: str, path: str | None) -> bool:
    return True


@dataclass(frozen=True)
class ValidationRules:
    """Bounds. All durations and times in microseconds.

    ``lateness``: an event received longer than this after it happened is expired-late, a rule of the event alone, so
    that it holds in any order. ``clock_skew``: how much later than its receipt an event may claim to have happened.
    ``not_after``: greatest time accepted. ``max_bytes``: greatest size, estimated from the lengths of its texts.
    ``is_known``: whether the ontology names an event, by its name and path.
    """

    lateness: int = 48 * HOUR
    clock_skew: int = 10 * MINUTE
    not_after: int = YEAR_2100 - 1
    max_bytes: int = 262_144
    is_known: Callable[[str, str | None], bool] = _knows_all


class Validator:
    """Checks events against rules."""

    def __init__(self, rules: ValidationRules) -> None:
        self.rules = rules

    def check(self, event: Event) -> Verdict:
        """The verdict on one event. Total."""
        rejected = self._required(event) or self._times(event) or self._limits(event)
        if rejected is not None:
            return rejected
        rules = self.rules
        if event.received_time - event.event_time > rules.lateness:
            late = (event.received_time - event.event_time) // MINUTE
            return Verdict("expired_late", f"received {late} minutes after it happened")
        known = rules.is_known(event.name, event.context.path)
        if event.channel in CHANNELS:
            return KEPT if known else _UNKNOWN_NAME
        return Verdict(None, "", ("unknown_channel",) if known else ("unknown_name", "unknown_channel"))

    def _required(self, event: Event) -> Verdict | None:
        if not (event.event_id and event.name and event.source and event.channel) or not (
            event.event_id.strip() and event.name.strip() and event.source.strip() and event.channel.strip()
        ):
            empty = [n for n in ("event_id", "name", "source", "channel") if not getattr(event, n).strip()]
            return Verdict("missing_field", f"{', '.join(empty)} empty")
        return None

    def _times(self, event: Event) -> Verdict | None:
        happened, received, latest = event.event_time, event.received_time, self.rules.not_after
        if YEAR_2000 <= happened <= latest and YEAR_2000 <= received <= latest:
            if happened - received <= self.rules.clock_skew:
                return None
            ahead = (happened - received) // 1_000_000
            return Verdict("clock_skew", f"happened {ahead} s after it was received")
        which = "event_time" if not YEAR_2000 <= happened <= latest else "received_time"
        side = "before 2000" if getattr(event, which) < YEAR_2000 else "after the greatest time accepted"
        return Verdict("time_out_of_range", f"{which} is {side}")

    def _limits(self, event: Event) -> Verdict | None:
        if not event.identifiers:
            return Verdict("no_identifier", "the event names none")
        size = _FIXED_SIZE + len(event.event_id) + len(event.name) + len(event.source) + len(event.channel)
        for namespace, value in event.identifiers:
            size += len(namespace) + len(value)
        if event.context is not EMPTY_CONTEXT:
            for text in _context_texts(event.context):
                if text is not None:
                    size += len(text)
        for text in _optional_texts(event):
            if text is not None:
                size += len(text)
        for purpose in event.consent:
            size += len(purpose) + 1
        for name, scalar in event.properties.items():
            size += len(name) + 8
            if type(scalar) is str:
                size += len(scalar)
            elif type(scalar) is float and not math.isfinite(scalar):
                return Verdict("out_of_range", "a property is no finite number")
        if size > self.rules.max_bytes:
            return Verdict("oversize", f"about {size} bytes, of at most {self.rules.max_bytes}")
        return self._counts(event)

    @staticmethod
    def _counts(event: Event) -> Verdict | None:
        if len(event.event_id) > _MAX_ID:
            return Verdict("out_of_range", f"event_id is {len(event.event_id)} characters long, of at most {_MAX_ID}")
        if len(event.name) > _MAX_NAME or len(event.source) > _MAX_NAME or len(event.channel) > _MAX_NAME:
            field = next(name for name in ("name", "source", "channel") if len(getattr(event, name)) > _MAX_NAME)
            return Verdict("out_of_range", f"{field} is longer than {_MAX_NAME} characters")
        if len(event.identifiers) > _MAX_IDENTIFIERS:
            return Verdict("out_of_range", f"{len(event.identifiers)} identifiers, of at most {_MAX_IDENTIFIERS}")
        if len(event.properties) > _MAX_PROPERTIES:
            return Verdict("out_of_range", f"{len(event.properties)} properties, of at most {_MAX_PROPERTIES}")
        return None


def without_reserved(event: Event) -> Event:
    """The event without properties of Wayline's own, which no sender may set; itself when it has none."""
    for name in event.properties:
        if name.startswith(RESERVED_PREFIX):
            break
    else:
        return event
    kept = {name: value for name, value in event.properties.items() if not name.startswith(RESERVED_PREFIX)}
    return dataclasses.replace(event, properties=kept)


def flagged(event: Event, flags: tuple[str, ...]) -> Event:
    """The event with its flags as a property; itself when there are none."""
    if not flags:
        return event
    return dataclasses.replace(event, properties={**event.properties, FLAGS_PROPERTY: ",".join(flags)})
