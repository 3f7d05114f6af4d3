"""Values of identifiers: how they are normalised, and which of them name nobody and are blocked.

Pure and total: no Beam, no state. Only reading the rules raises ``ConfigurationError``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from contracts import documents
from transforms.identity.pattern_cost import cost_of

DEFAULT_BLOCKED_VALUES: Final = frozenset(
    (
        "",
        "-1",
        "(not set)",
        "anonymous",
        "default",
        "false",
        "guest",
        "n/a",
        "na",
        "nan",
        "nil",
        "none",
        "not set",
        "null",
        "true",
        "undefined",
        "unknown",
        "[object object]",
        "a@a.com",
        "test@example.com",
        "test@test.com",
        "user@example.com",
    )
)
DEFAULT_BLOCKED_PATTERNS: Final = (
    r"[0\W_]+",  # zeros and punctuation only: 0, 0000, 00000000-0000-0000-0000-000000000000, ---
    r"\W*([0-9])(?:\W*\1){3,}\W*",  # one digit repeated; from four on, since 7, 11 and 111 are honest numbers
    r"(?:test|noreply|no-reply)@.*",
    r".*@(?:test|invalid|localhost|example)(?:\.[a-z.]+)?",
)
MAX_LENGTH: Final = 512
"""Characters of a normalised identifier; a longer one is blocked."""
_MOST_STEPS: Final = 5_000_000
"""Of a blocked pattern on one value (``pattern_cost``): about a tenth of a second, were somebody to send the worst."""
MAX_LENGTH_SENT: Final = 4 * MAX_LENGTH
"""Characters of an identifier as sent: one composed character may be written as four."""


def _phone(value: str) -> str:
    digits = "".join(c for c in value if c.isdecimal())
    return "+" + digits[2:] if digits.startswith("00") else ("+" + digits if value.startswith("+") else digits)


def _email_plus(value: str) -> str:
    local, at, domain = value.rpartition("@")
    return local.partition("+")[0] + at + domain if at else value


def _email_dots(value: str) -> str:
    local, at, domain = value.rpartition("@")
    return local.replace(".", "") + at + domain if at else value


def sha256(value: str) -> str:
    """The hex sha256 of a text, as senders of hashed addresses make it."""
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()


NORMALISERS: Final[Mapping[str, Callable[[str], str]]] = {
    "trim": str.strip,
    "lower": str.lower,
    "phone": _phone,
    "email_plus": _email_plus,
    "email_dots": _email_dots,
    "sha256": sha256,
}
"""What ``normalise`` may list; ``sha256`` only as the last step."""


@dataclass(frozen=True, slots=True)
class Block:
    """What names nobody: whole values in lower case, and patterns that match a whole value in any case."""

    values: frozenset[str]
    patterns: tuple[str, ...]

    def extended(self, node: documents.Node | None) -> Block:
        """This list with what a ``block`` section adds, or that section alone when it says ``defaults: false``."""
        if node is None:
            return self
        node.mapping(("values", "patterns", "defaults"))
        defaults, values, patterns = node.get("defaults"), node.get("values"), node.get("patterns")
        base = self if defaults is None or defaults.boolean() else Block(frozenset(("",)), ())
        added: list[str] = []
        for item in (values.list() if isinstance(values.value, list) else [values]) if values else []:
            # 0 and null are what people want to block, and YAML reads them as something else than text
            text = "null" if item.value is None else str(item.value)
            if isinstance(item.value, (dict, list)):
                item.fail(f"{item.where} must be a text, not {item.kind}")
            added.append(text.strip().lower())
        compiled: list[str] = []
        for item in (patterns.list() if isinstance(patterns.value, list) else [patterns]) if patterns else []:
            text = item.string()
            try:
                re.compile(text)
            except re.error as error:
                item.fail(f"{item.where} is no regular expression: {error}")
            if cost_of(text, MAX_LENGTH).steps > _MOST_STEPS:
                item.fail(
                    f"{item.where} could look at one value for minutes or for ever: {text!r} can divide a value that "
                    "does not match among its repeats in too many ways",
                    hint="put no repeat into a repeat, as in (a+)+, and at most two like .* into a pattern; say what "
                    "ends a repeat, as in [^@]+@; write alternatives as patterns of their own",
                )
            compiled.append(text)
        return Block(base.values | frozenset(added), (*base.patterns, *compiled))

    def compiled(self) -> tuple[re.Pattern[str], ...]:
        return tuple(re.compile(text, re.IGNORECASE) for text in self.patterns)


DEFAULT_BLOCK: Final = Block(DEFAULT_BLOCKED_VALUES, DEFAULT_BLOCKED_PATTERNS)
