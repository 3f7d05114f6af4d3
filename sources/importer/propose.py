"""A first mapping, proposed by looking at rows: which field is the time, the name, the identifiers, the rest. Pure.

A proposal is text for people to read and change: each line says in a comment what it rests on, and what looks personal
is left out in a comment. It is always a valid mapping, or a ``ProposalError`` says what is missing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from contracts.errors import InputError
from sources.importer.survey import Field, Survey, folded

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"})
_MAX_NAMES = 200
_MAX_PROPERTIES = 40
_FEW = 50
_FIELDS_SHOWN = 20

_TIME = (
    r"^(event_?)?(time|timestamp|ts)$|^(occurred|happened|event|original)_?(at|on|time|timestamp|date)$",
    r"^(created|sent|processed|order|purchase|transaction|start(ed)?|initiation)_?(at|on|time|timestamp|date)$",
    r"(time|t_?stamp|timestamp|_at|date|_on|_ts)$",
)
_NAME = (r"^event(_?name)?$", r"^(event_?type|action|activity|activity_?type)$", r"^(type|kind|status|stage|what)$")
_MAY_NAME = r"_(type|kind|status|stage)$"
"""Names of fields that may say what happened; with few values, a person can tell."""
_EVENT_ID = r"(^|_)(event_?id|message_?id|msg_?id|insert_?id|row_?id)$|^(uuid|guid|id)$"
_RECEIVED = r"^(received|ingested|collected|collector|loaded|load|server)_?(at|on|time|timestamp|tstamp)$"
_IDENTIFIERS = (
    ("anonymous_id", r"anonymous|visitor|cookie|client_id|pseudo_id|distinct_id|domain_userid"),
    ("device_id", r"device_id|idfa|idfv|advertising_id|install_id|appsflyer_id"),
    ("user_id", r"^(user|login|member|account_holder)(_?id|_?key|_?no|_?number)?$|^userid$|customer_user_id"),
    ("crm_id", r"^(associated_)?(crm|customer|cust|client|contact|lead|loyalty|card)(_?ids?|_?key|_?no|_?number)?$"),
    ("email_sha256", r"e?mail_?(sha256|hash|hashed)$"),
    ("email", r"^(e_?)?mail(_?address)?$|_e?mail(_address)?$|^e_mail$"),
    ("phone", r"^(phone|mobile|telephone|tel|msisdn)(_?number)?$|_(phone|mobile)$"),
)
_TEXTS = (
    ("tracker_session_id", r"^session(_?id)?$|sessionid$|visit_?id$"),
    ("locale", r"^(locale|language|lang|br_lang)$"),
    ("time_zone", r"^(time_?zone|tz)$"),
    ("country", r"^country(_?code)?$|geo_country$"),
    ("correlation_id", r"^(order|transaction|receipt|booking)_?(id|no|number)$"),
)
_CONTEXT = (
    ("url", r"^(page_?)?(url|location)$"),
    ("path", r"^(page_?)?(path|urlpath)$|^page$|^screen(_?name)?$"),
    ("title", r"^(page_?)?title$"),
    ("referrer", r"referr?er$"),
    ("campaign_source", r"(^|_)(utm|mkt|campaign)_?source$"),
    ("campaign_medium", r"(^|_)(utm|mkt|campaign)_?medium$"),
    ("campaign_name", r"(^|_)(utm|mkt)_?campaign$|(^|_)campaign(_?name)?$"),
    ("campaign_term", r"(^|_)(utm|mkt|campaign)_?term$"),
    ("campaign_content", r"(^|_)(utm|mkt|campaign)_?content$"),
)
_CONSENT = re.compile(r"consent|opt_?in|opt_?out|newsletter|marketing_?(allowed|permission)|unsubscribed")


class ProposalError(InputError):
    """Nothing in the rows can be the time of an event, or an identifier."""


@dataclass(frozen=True)
class Proposal:
    """The text of a mapping, and what a person should decide."""

    text: str
    questions: tuple[str, ...]


def propose(found: Survey, name: str, kind: str, delimiter: str = ",") -> Proposal:
    """A mapping for rows such as these.

    Args:
        name: of the mapping and, as a guess, of the source.
        kind: the format of the file.

    Raises:
        ProposalError: no field can be the time, or none an identifier.
    """
    maker = _Maker(found)
    lines = list(maker.lines(name, kind, delimiter))
    return Proposal("\n".join(lines) + "\n", tuple(maker.questions))


def _as_times(found: Field) -> int:
    """How many values of a field are times in the format that fits most of them; numbers could be anything."""
    return max((n for written, n in found.times.items() if not written.startswith("epoch")), default=0)


def _happened(found: Field) -> bool:
    """A time, and not that of its receipt."""
    return found.time_format is not None and not re.search(_RECEIVED, found.name)


class _Maker:
    """Takes each field for one part only."""

    def __init__(self, found: Survey) -> None:
        self.rows = found.rows
        self.arrays = found.arrays
        self.nulls = sorted(found.nulls)
        nested = found.arrays | found.objects
        self.left = {path: f for path, f in found.fields.items() if path not in nested}
        self.questions: list[str] = []

    def lines(self, name: str, kind: str, delimiter: str) -> Iterator[str]:
        time = self._time()
        received = self._take(_RECEIVED, lambda f: f.time_format is not None)
        identifiers = list(self._identifiers())
        event_id = self._take(_EVENT_ID, lambda f: f.filled == self.rows == len(f.values))
        named = self._named()
        channel = "web" if any(re.search(_CONTEXT[0][1], f.name) for f in self.left.values()) else "other"
        yield f"# Proposed from {self.rows} rows. Read each line: what is a guess says on what it rests."
        yield f"name: {_safe(name)}"
        yield f"format: {kind}"
        if kind == "csv" and delimiter != ",":
            yield f"delimiter: {json.dumps(delimiter)}"
        if self.nulls:
            yield f"nulls: {json.dumps(self.nulls)}  # texts that stand where there is nothing"
        for array in sorted(self.arrays):
            yield f"# {_shown(array)} is an array: unnest makes a row of each item, {_shown(array)}[0] is the first"
        yield "event:"
        if event_id is not None:
            yield f"  event_id: {_path(event_id)}{self._said(event_id)}"
        else:
            yield "  # no field is called an event's id and tells all rows apart: name, time and identifiers make one"
        yield from self._name_lines(named, name)
        yield f"  event_time: {self._time_value(time)}{self._said(time)}"
        if received is not None:
            yield f"  received_time: {self._time_value(received)}{self._said(received)}"
        yield f"  source: {{constant: {_safe(name)}}}"
        yield f"  channel: {{constant: {channel}}}  # web, app, email, ads, call, store, crm or other"
        self.questions.append(f"channel: is {channel} right?")
        yield "  # identifiers of one row say that they are one person's"
        yield "  identifiers:"
        for namespace, found in identifiers:
            yield f"    - {{namespace: {namespace}, field: {_path(found)}}}{self._said(found)}"
        for key, pattern in _TEXTS:
            if (text := self._take(pattern)) is not None:
                yield f"  {key}: {_path(text)}{self._said(text)}"
        yield from self._section("context", _CONTEXT)
        yield from self._consent()
        yield from self._properties()

    def _take(self, pattern: str, fits=lambda f: True) -> Field | None:  # type: ignore[no-untyped-def]
        """The best filled field whose name fits, and which is then taken."""
        fitting = [
            f for f in self.left.values() if (re.search(pattern, f.name) or re.search(pattern, f.full_name)) and fits(f)
        ]
        if not fitting:
            return None
        # what stands at the top speaks of the row itself; of a day and an instant the instant is the finer
        best = max(fitting, key=lambda f: (f.filled, -f.path.count("."), len(f.values)))
        return self.left.pop(best.path)

    def _time(self) -> Field:
        for pattern in _TIME:
            if (found := self._take(pattern, _happened)) is not None:
                return found
        times = [f for f in self.left.values() if f.time_format is not None and f.filled == self.rows]
        named = [f for f in times if f.time_format not in ("epoch_s", "epoch_ms", "epoch_us", "%Y%m%d")]
        if not named:
            almost = max(self.left.values(), key=_as_times, default=None)
            if almost is not None and 2 * _as_times(almost) > almost.filled == self.rows:
                raise ProposalError(
                    f"{_shown(almost.path)}: only {_as_times(almost)} of {almost.filled} are times in one format",
                    hint="propose from a file without the others' rows; an import makes dead letters of them",
                )
            raise ProposalError(
                "no field of these rows is a time in a format that is known",
                hint="write the mapping by hand: docs/mappings.md, or add the time to the export",
            )
        return self.left.pop(named[0].path)

    def _named(self) -> Field | None:
        for pattern in _NAME:
            found = self._take(
                pattern, lambda f: f.filled == self.rows and len(f.values) <= _MAX_NAMES and f.type == "string"
            )
            if found is not None:
                return found
        return None

    def _identifiers(self) -> Iterator[tuple[str, Field]]:
        count = 0
        for namespace, pattern in _IDENTIFIERS:
            found = self._take(pattern, lambda f: f.type in ("string", "long"))
            if found is not None:
                count += 1
                yield namespace, found
        for found in [f for f in self.left.values() if f.filled and f.emails == f.filled]:
            if count == 0:
                count += 1
                yield "email", self.left.pop(found.path)
        if not count:
            raise ProposalError(
                "no field of these rows looks like an identifier",
                hint="a mapping needs one: a login, a cookie, an address, a number of a record; write it by hand, from "
                + ", ".join(_shown(path) for path in [*self.left][:_FIELDS_SHOWN]),
            )

    def _name_lines(self, named: Field | None, name: str) -> Iterator[str]:
        if named is not None:
            yield f"  name: {_path(named)}{self._said(named)}"
            self.questions.append(
                "name: does the ontology know them? once imported, wayline ontology check --input says"
            )
        else:
            yield "  # no field says what happened: every row is one event; or give a list of rules"
            yield f"  name: {{constant: {_safe(name)}}}"
            may = [
                _shown(f.path) for f in self.left.values() if re.search(_MAY_NAME, f.name) and 1 < len(f.values) <= _FEW
            ]
            says = f" perhaps {' or '.join(may)} says it: field, with a lookup" if may else ""
            self.questions.append(f"name: what happened in such a row?{says}")

    def _time_value(self, found: Field) -> str:
        written = found.time_format
        assert written is not None
        others = [f for f, n in found.times.items() if n == found.filled and f != written and not f.startswith("epoch")]
        if written.startswith("%") and others:
            self.questions.append(f"{_shown(found.path)}: {written} fits, and so does {others[0]}")
        if written.startswith("epoch"):
            return f"{{field: {_path(found)}, format: {written}}}"
        if found.zoned < found.filled:
            self.questions.append(f"{_shown(found.path)}: is UTC the zone of times that state none?")
        return f"{{field: {_path(found)}, format: {json.dumps(written)}, zone: UTC}}"

    def _section(self, key: str, parts: Sequence[tuple[str, str]]) -> Iterator[str]:
        first = True
        for part, pattern in parts:
            if (found := self._take(pattern, lambda f: f.type == "string")) is None:
                continue
            if first:
                yield f"  {key}:"
                first = False
            yield f"    {part}: {_path(found)}{self._said(found)}"

    def _consent(self) -> Iterator[str]:
        for found in [f for f in self.left.values() if _CONSENT.search(f.name) and f.type in ("boolean", "long")]:
            del self.left[found.path]
            yield f"  # a consent? then: consent: {{email: {{field: {_path(found)}, type: boolean}}}}"
            self.questions.append(f"{_shown(found.path)}: is it a consent, and to what?")

    def _properties(self) -> Iterator[str]:
        personal = [f for f in self.left.values() if f.looks_personal]
        rest = [f for f in self.left.values() if not f.looks_personal]
        if rest:
            yield "  properties:"
        names: set[str] = set()
        for found in rest[:_MAX_PROPERTIES]:
            name = "_".join(folded(step) for step in found.path.split(".")[-2:]).strip("_") or "value"
            while name in names:
                name += "_"
            names.add(name)
            value = _path(found) if found.type == "string" else f"{{field: {_path(found)}, type: {found.type}}}"
            yield f"    {_safe(name)}: {value}{self._said(found)}"
        for found in rest[_MAX_PROPERTIES:]:
            yield f"  # not taken: {_shown(found.path)}"
        for found in personal:
            yield f"  # left out, since it looks personal: {_shown(found.path)}"

    def _said(self, found: Field) -> str:
        """What was seen in a field, as a comment. No value of it."""
        share = round(100 * found.filled / self.rows) if self.rows else 0
        many = len(found.values)
        values = "all different" if many == found.filled and many > 1 else f"{many} value{'s' if many != 1 else ''}"
        return f"  # filled in {share} %, {values}"


def _path(found: Field) -> str:
    return _safe(found.path)


def _safe(text: str) -> str:
    """A text as YAML writes it, anywhere in a line."""
    return text if _PLAIN.fullmatch(text) and text.lower() not in _WORDS else json.dumps(text, ensure_ascii=False)


def _shown(text: str) -> str:
    return text if text.isprintable() else json.dumps(text)
