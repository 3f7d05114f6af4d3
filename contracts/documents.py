"""YAML documents that know their lines, so that every complaint about a file says file and line.

``load(path)`` gives a ``Node``. A ``Node`` is read by asking for what should be there; what is not as it should
be raises ``ConfigurationError`` with the line and, for a misspelt key, the nearest known one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

import yaml

from contracts.errors import ConfigurationError
from contracts.event import DAY, HOUR, MINUTE, SECOND

_DURATION = re.compile(r"^(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d|w)$")
_UNITS = {"us": 1, "ms": 1_000, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_MAX_BYTES = 1024 * 1024
"""A key of one letter takes two bytes and a kilobyte of memory."""
_MAX_NUMBER = 400
"""Characters of what is no text: to make a number of more takes time that grows with their square."""
_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = frozenset(f"{_TAG}{name}" for name in ("str", "int", "float", "bool", "null"))


def parse_duration(text: str) -> int:
    """``"30m"``, ``"1.5h"``, ``"14d"`` to microseconds. Raises ValueError on anything else."""
    match = _DURATION.match(text.strip())
    if not match:
        raise ValueError(f"{text!r} is no duration; write a number and one of us, ms, s, m, h, d, w, such as 30m")
    return round(float(match[1]) * _UNITS[match[2]])


@dataclass(frozen=True)
class Node:
    """One value of a document with its place.

    ``value`` is a scalar, a list of Nodes, or a dict from str to Node.
    """

    value: Any
    path: str
    line: int
    where: str = "the document"

    def fail(self, message: str, *, hint: str = "") -> NoReturn:
        """Raise a ConfigurationError at this place."""
        raise ConfigurationError(self.path, self.line, message, hint=hint)

    @property
    def kind(self) -> str:
        if isinstance(self.value, dict):
            return "a mapping"
        if isinstance(self.value, list):
            return "a list"
        return "nothing" if self.value is None else type(self.value).__name__

    def plain(self) -> Any:
        """The value without places, as plain Python."""
        if isinstance(self.value, dict):
            return {k: v.plain() for k, v in self.value.items()}
        if isinstance(self.value, list):
            return [v.plain() for v in self.value]
        return self.value

    # --- mappings -------------------------------------------------------------------------------------------

    def mapping(self, known: Sequence[str] | None = None) -> dict[str, Node]:
        """This node as a mapping; with ``known``, any other key is refused with the nearest known one."""
        if not isinstance(self.value, dict):
            self.fail(f"{self.where} must be a mapping, not {self.kind}")
        if known is not None:
            for key, child in self.value.items():
                if key not in known:
                    near = difflib.get_close_matches(key, known, n=1)
                    child.fail(
                        f"unknown key {key!r} in {self.where}",
                        hint=f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}",
                    )
        return self.value

    def get(self, key: str) -> Node | None:
        """The child under ``key``, or None when absent or null."""
        child: Node | None = self.mapping().get(key)
        return None if child is None or child.value is None else child

    def need(self, key: str) -> Node:
        """The child under ``key``; its absence is an error."""
        child = self.get(key)
        if child is None:
            self.fail(f"{self.where} needs {key!r}")
        return child

    def items(self) -> Iterator[tuple[str, Node]]:
        yield from self.mapping().items()

    # --- lists and scalars ----------------------------------------------------------------------------------

    def list(self) -> list[Node]:
        if not isinstance(self.value, list):
            self.fail(f"{self.where} must be a list, not {self.kind}")
        return self.value

    def strings(self) -> tuple[str, ...]:
        """A list of strings; a lone string counts as a list of one."""
        if isinstance(self.value, str):
            return (self.value,)
        return tuple(item.string() for item in self.list())

    def string(self) -> str:
        if not isinstance(self.value, str) or not self.value:
            self.fail(f"{self.where} must be a non-empty text, not {self.kind}", hint="put it in quotes")
        return self.value

    def boolean(self) -> bool:
        if not isinstance(self.value, bool):
            self.fail(f"{self.where} must be true or false, not {self.kind}")
        return self.value

    def integer(self, *, minimum: int | None = None, maximum: int | None = None) -> int:
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            self.fail(f"{self.where} must be a whole number, not {self.kind}")
        self._bounds(self.value, minimum, maximum)
        return self.value

    def number(self, *, minimum: float | None = None, maximum: float | None = None) -> float:
        if isinstance(self.value, bool) or not isinstance(self.value, (int, float)):
            self.fail(f"{self.where} must be a number, not {self.kind}")
        if self.value != self.value or self.value in (float("inf"), float("-inf")):
            self.fail(f"{self.where} must be a finite number")
        self._bounds(self.value, minimum, maximum)
        return float(self.value)

    def duration(self, *, minimum: int = 0) -> int:
        """A duration such as ``30m``, in microseconds."""
        try:
            micros = parse_duration(self.string())
        except ValueError as error:
            self.fail(f"{self.where}: {error}")
        if micros < minimum:
            self.fail(f"{self.where} must be at least {minimum} microseconds")
        return micros

    def choice(self, options: Sequence[str]) -> str:
        text = self.string()
        if text not in options:
            near = difflib.get_close_matches(text, options, n=1)
            self.fail(
                f"{self.where} is {text!r}, which is none of {', '.join(options)}",
                hint=f"did you mean {near[0]!r}?" if near else "",
            )
        return text

    def _bounds(self, value: float, minimum: float | None, maximum: float | None) -> None:
        if minimum is not None and value < minimum:
            self.fail(f"{self.where} is {value}, but must be at least {minimum}")
        if maximum is not None and value > maximum:
            self.fail(f"{self.where} is {value}, but must be at most {maximum}")


class _Loader(yaml.SafeLoader):
    """SafeLoader without aliases, which make small documents explode, and without implicit dates."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not allowed", event.start_mark)
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load(path: Path | str) -> Node:
    """Read a YAML file.

    Raises:
        ConfigurationError: the file is missing, unreadable, too large, no YAML, has an alias or a doubled key.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(path, None, f"cannot be read: {error.strerror}") from error
    if len(data) > _MAX_BYTES:
        raise ConfigurationError(path, None, f"is {len(data)} bytes long; a configuration has at most {_MAX_BYTES}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(path, None, "is not UTF-8 text", hint="save it as UTF-8") from error
    return parse(text, str(path))


@lru_cache(maxsize=32)
def parse(text: str, path: str) -> Node:
    """Like ``load``, from text; ``path`` is what complaints name. Cached: workers read the same text for each stage."""
    try:
        root = yaml.compose(text, Loader=_Loader)
        if root is None:
            raise ConfigurationError(path, 1, "the file is empty")
        return _convert(root, path, "the document", 0)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise ConfigurationError(path, line, f"not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(path, None, f"not valid YAML: {error}") from error
    except RecursionError as error:
        raise ConfigurationError(path, None, "is nested too deeply") from error


def _convert(node: yaml.Node, path: str, where: str, depth: int) -> Node:
    line = node.start_mark.line + 1
    if depth > 40:
        raise ConfigurationError(path, line, "is nested too deeply, or refers to itself")
    if isinstance(node, yaml.MappingNode):
        _check_tag(node, path, (f"{_TAG}map",))
        out: dict[str, Node] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigurationError(path, key_node.start_mark.line + 1, "keys must be plain text")
            key = _unicode(str(key_node.value), path, key_node)
            if key in out:
                raise ConfigurationError(path, key_node.start_mark.line + 1, f"key {key!r} stands twice in {where}")
            child = _convert(value_node, path, key if where == "the document" else f"{where}.{key}", depth + 1)
            out[key] = Node(child.value, path, key_node.start_mark.line + 1, child.where)
        return Node(out, path, line, where)
    if isinstance(node, yaml.SequenceNode):
        _check_tag(node, path, (f"{_TAG}seq",))
        items = [_convert(item, path, f"{where}[{i}]", depth + 1) for i, item in enumerate(node.value)]
        return Node(items, path, line, where)
    _check_tag(node, path, _SCALAR_TAGS)
    if node.tag != f"{_TAG}str" and len(node.value) > _MAX_NUMBER:
        raise ConfigurationError(path, line, f"{where} is too long to be anything but a text", hint="put it in quotes")
    constructor = _Loader("")
    try:
        value = constructor.construct_object(node)
    except (ValueError, LookupError, yaml.YAMLError) as error:
        # LookupError: what an explicit tag says that it is, it is not
        raise ConfigurationError(path, line, f"{where} is no {node.tag.removeprefix(_TAG)}") from error
    finally:
        constructor.dispose()
    return Node(_unicode(value, path, node) if isinstance(value, str) else value, path, line, where)


def _unicode(text: str, path: str, node: yaml.Node) -> str:
    """The text, refused where it cannot be written: an escape may name half of a character."""
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise ConfigurationError(path, node.start_mark.line + 1, "a text holds half a character (\\ud800 to \\udfff)")
    return text


def _check_tag(node: yaml.Node, path: str, known: Collection[str]) -> None:
    """Refuse what is neither plain nor of a kind that a configuration has: other tags name things of a program."""
    if node.tag not in known:
        line = node.start_mark.line + 1
        raise ConfigurationError(path, line, f"has the tag {node.tag!r}, which means nothing here", hint="leave it out")
