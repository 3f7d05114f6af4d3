"""Minimise: which fields of an event go on, and what is cut out of those that do.

Pure: no Beam. Input: properties, addresses and texts as the sender wrote them; output: what is left. State: bounded
caches, which change no answer. Errors: none.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from contracts.event import Context, Scalar

_CACHE_LIMIT = 20_000

_PERSONAL_NAME = re.compile(
    r"(^|[_.\- ])(e[_-]?mails?|mail|phone|telephone|tel|mobile|msisdn|fax|password|passwd|secret|token|ssn"
    r"|iban|passport|birth_?day|birth_?date|dob|street|post_?code|zip|zip_?code|ip|card_?number|cvv)"
    r"([_ -]?(address|number|raw))?$"
    r"|^((first|last|full|middle|given|family|sur|user|customer|contact|person)[_ ]?)?name$|^address$",
    re.IGNORECASE,
)
"""Names of properties that hold personal data by all appearance; ``product_name`` does not."""
_EMAIL = re.compile(r"[^\s@/?#&=:;,<>()\"']{1,64}(@|%40)[^\s@/?#&=:;,<>()\"']{1,255}\.[A-Za-z]{2,}")
"""Bounded, as addresses are, so that no text takes quadratic time."""
_EMAIL_END = re.compile(r"(?<=[^\s@/?#&=:;,<>()\"'])(?:@|%40)[^\s@/?#&=:;,<>()\"']{1,255}\.[A-Za-z]{2,}")
"""Found wherever ``_EMAIL`` is, and faster."""
_PHONE = re.compile(r"(?<![\w+])(?:\+|%2[Bb])[1-9](?:[ ().\-/]{0,3}\d){7,14}(?!\d)")
_NATIONAL = re.compile(
    r"""\s*(?:
        (?!\d\d[./-](?:\d\d[./-])?(?:19|20)\d\d(?!\d))      # no date
        0(?:0[ .]?)?[1-9](?=\d*[ ()./])(?:[ ()./-]{0,3}\d){8,12}  # 030 12345678, 0171/2345678, 0049 30 1234567
      | 0[1-9]\d{0,3}-\d{6,9} | 0[1-9](?:-\d\d){4}            # 030-12345678, 01-23-45-67-89
      | \(\d{2,5}\)(?:[ ./-]{0,3}\d){6,10}                            # (415) 555-2671
      | (?:1[ .-])?[2-9]\d\d[ .-][2-9]\d\d[ .-]\d{4}                  # 415-555-2671
      | tel:[ ]?[\d ()./-]{7,20}
    )\s*""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
"""A whole text that is a phone number as written within a country: digits in groups. Digits alone may be any id."""
_NATIONAL_STARTS = frozenset(" 0123456789(tT")
_NATIONAL_LENGTHS = range(10, 31)
_REMOVED = "(removed)"
_CAMPAIGN_PARAMETER = re.compile(r"utm_[a-z]+")

_KEEP, _SCAN, _DROP = 2, 1, 0


def is_personal(text: str) -> bool:
    """Whether a text holds an e-mail address or an international phone number, or is a phone number by its form."""
    if len(text) in _NATIONAL_LENGTHS and text[0] in _NATIONAL_STARTS and _NATIONAL.fullmatch(text):
        return True
    if ("@" in text or "%40" in text) and _EMAIL_END.search(text):
        return True
    return ("+" in text or "%2" in text) and _PHONE.search(text) is not None


def is_personal_name(name: str) -> bool:
    """Whether a field of this name holds personal data by all appearance."""
    return _PERSONAL_NAME.search(name) is not None


def scrub_text(text: str | None) -> str | None:
    """The text without what ``is_personal`` finds in it."""
    return None if text is None else scrubbed(text)


def scrubbed(text: str) -> str:
    """``scrub_text`` of a text that is there."""
    if len(text) in _NATIONAL_LENGTHS and text[0] in _NATIONAL_STARTS and _NATIONAL.fullmatch(text):
        return _REMOVED
    if not ("@" in text or "+" in text or "%" in text):
        return text
    if _EMAIL_END.search(text):
        text = _EMAIL.sub(_REMOVED, text)
    return _PHONE.sub(_REMOVED, text)


def scrub_url(url: str | None) -> str | None:
    """The address without user, fragment and query, save for campaign parameters; what is no address is dropped."""
    if url is None:
        return None
    if "?" not in url and "#" not in url and "@" not in url:
        return scrub_text(url)
    try:
        parts = urlsplit(url)
        query = [(k, v) for k, v in parse_qsl(parts.query, max_num_fields=200) if _CAMPAIGN_PARAMETER.fullmatch(k)]
        host = parts.netloc.rpartition("@")[2]
        kept = scrubbed(urlunsplit((parts.scheme, host, scrubbed(parts.path), "", "")))
    except ValueError:
        return None
    safe = [(k, v) for k, v in query if not is_personal(v)]
    return f"{kept}?{urlencode(safe)}" if safe else kept


class FieldFilter:
    """Which properties pass, and in what form texts do.

    Args:
        allowed: patterns of property names, as a shell writes them. A name that looks personal, or a text that holds an
            e-mail address or phone number, passes only when its name is listed literally.
    """

    def __init__(self, allowed: Sequence[str] = ("*",)) -> None:
        self._literal = frozenset(p for p in allowed if not any(c in p for c in "*?["))
        self._patterns = [re.compile(fnmatch.translate(p)) for p in allowed if p not in self._literal]
        self._decided: dict[str, int] = {}
        self._urls: dict[str, str | None] = {}

    def _decide(self, name: str) -> int:
        if name in self._literal or name.startswith("wayline."):
            decided = _KEEP
        elif _PERSONAL_NAME.search(name) or is_personal(name) or not any(p.match(name) for p in self._patterns):
            decided = _DROP
        else:
            decided = _SCAN
        if len(self._decided) >= _CACHE_LIMIT:
            self._decided.clear()
        self._decided[name] = decided
        return decided

    def properties(self, properties: dict[str, Scalar]) -> dict[str, Scalar]:
        """The properties that pass, sorted by name."""
        kept = {}
        decided = self._decided
        for name in sorted(properties) if len(properties) > 1 else properties:
            rule = decided.get(name)
            if rule is None:
                rule = self._decide(name)
            value = properties[name]
            if rule == _KEEP or (rule == _SCAN and (type(value) is not str or not is_personal(value))):
                kept[name] = value
        return kept

    def url(self, url: str | None) -> str | None:
        """``scrub_url``, remembered."""
        if url is None:
            return None
        try:
            return self._urls[url]
        except KeyError:
            if len(self._urls) >= _CACHE_LIMIT:
                self._urls.clear()
            made = self._urls[url] = scrub_url(url)
            return made

    def context(self, context: Context) -> dict[str, str]:
        """The fields of the context that are set, scrubbed."""
        fields = {
            "url": self.url(context.url),
            "path": self.url(context.path),
            "title": scrub_text(context.title),
            "referrer": self.url(context.referrer),
            "campaign_source": scrub_text(context.campaign_source),
            "campaign_medium": scrub_text(context.campaign_medium),
            "campaign_name": scrub_text(context.campaign_name),
            "campaign_term": scrub_text(context.campaign_term),
            "campaign_content": scrub_text(context.campaign_content),
        }
        return {name: text for name, text in fields.items() if text is not None}
