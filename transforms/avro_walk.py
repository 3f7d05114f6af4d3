"""How many values an Avro record holds, counted over its bytes without building any: what memory it would ask for.

An array of records takes a byte an item and some hundred bytes of memory each, so a block that inflates to its bound
could still exhaust a machine. Pure: no Beam. Input: a parsed schema that ``transforms.decode.refuse_unsafe`` let pass,
bytes and a place. Output: the place after the record. Errors: ``TooManyValuesError``; on bytes that are no record
anything of ``FAULTS``, and then the reader, which says what is wrong, fails on them too. State: none.
"""

from __future__ import annotations

from typing import Any

from contracts.event_reader import read_long
from transforms.avro_json import Named

LARGE = 1 << 20
"""In fewer bytes than this no record can ask for much."""
MAX_VALUES = 500_000
_SIZES = {"null": 0, "boolean": 1, "float": 4, "double": 8}


class TooManyValuesError(Exception):
    """A record holds more values than may be. No ``ValueError``, which bytes that are no record give."""


class Walker:
    """Walks over records of one schema.

    Args:
        schema: parsed, without logical types.
        named: its named types (``transforms.avro_json.named_types``).
        most: values that a record may hold.
    """

    def __init__(self, schema: Any, named: Named, most: int = MAX_VALUES) -> None:
        self._schema = schema
        self._named = named
        self._most = most
        self._left = 0

    def after(self, data: bytes, at: int) -> int:
        """Where the record at a place ends. Raises TooManyValuesError, and ``FAULTS`` on bytes that are none."""
        self._left = self._most
        return self._walk(self._schema, data, at)

    def _walk(self, schema: Any, data: bytes, at: int) -> int:
        self._left -= 1
        if self._left < 0:
            raise TooManyValuesError(f"it holds more than {self._most} values")
        if isinstance(schema, list):
            branch, at = read_long(data, at)
            return self._walk(schema[branch], data, at)
        kind = schema["type"] if isinstance(schema, dict) else schema
        if isinstance(kind, (dict, list)):
            return self._walk(kind, data, at)
        size = _SIZES.get(kind)
        if size is not None:
            return at + size
        if kind in ("int", "long", "enum"):
            return read_long(data, at)[1]
        if kind in ("string", "bytes"):
            length, at = read_long(data, at)
            return _on(data, at, length)
        if kind == "fixed":
            return _on(data, at, schema["size"])
        if kind in ("array", "map"):
            return self._walk_blocks(schema, kind == "map", data, at)
        if kind in ("record", "error"):
            for field in schema["fields"]:
                at = self._walk(field["type"], data, at)
            return at
        return self._walk(self._named[kind], data, at)

    def _walk_blocks(self, schema: Any, is_map: bool, data: bytes, at: int) -> int:
        inner = schema["values" if is_map else "items"]
        while True:
            count, at = read_long(data, at)
            if count == 0:
                return at
            if count < 0:
                count = -count
                _, at = read_long(data, at)
            for _ in range(count):
                if is_map:
                    length, at = read_long(data, at)
                    at = _on(data, at, length)
                at = self._walk(inner, data, at)


def _on(data: bytes, at: int, length: int) -> int:
    if length < 0 or at + length > len(data):
        raise IndexError
    return at + length
