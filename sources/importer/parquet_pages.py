"""What a Parquet file says of itself, read by hand before the library may believe it: its nesting, and its pages.

The end of a file says how large each column is once inflated, and nobody checks it: a reader makes room for what the
head of a page claims, up to 2 GiB each, and goes down as deep as the schema is nested, until its stack ends. Here the
heads alone are read, in Thrift's compact protocol, without building anything of what they hold. Input: an open file.
Output: numbers. Errors: ``PagesError`` for what is no head; nothing else escapes but OSError. State: none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

_MAGIC = b"PAR1"
_END = 8
"""Bytes after the footer: its length and the magic."""
_MAX_FOOTER = 256 << 20
_MAX_HEAD = 4 << 20
"""Bytes of the head of a page; statistics may make it long."""
_FIRST_HEAD = 1 << 10
_MAX_DEPTH = 32
"""How deep structures of Thrift are followed; those of Parquet need six."""
_PADDING = 100
"""Writers of long ago left out of a column's size what its dictionary's head takes, and the library reads on so far."""

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_INTEGERS = (_I16, _I32, _I64)
_DATA, _INDEX, _DICTIONARY, _DATA_V2 = range(4)
_SCHEMA, _CHILDREN = 2, 5
_HEADS = {_DATA: 5, _DICTIONARY: 7, _DATA_V2: 8}
"""Kind of a page to the field of its head that says how many values it has."""


class PagesError(ValueError):
    """Bytes that are no head of a page or no footer, or claims that cannot be."""


@dataclass(frozen=True, slots=True)
class Pages:
    """Of one column in one row group: bytes once inflated of its dictionary, of its largest other page, of all of them;
    and how many values they hold."""

    dictionary: int = 0
    largest: int = 0
    total: int = 0
    values: int = 0


def schema_depth(file: IO[bytes]) -> int:
    """How deeply the schema of a file is nested: 1 for plain columns.

    Raises:
        PagesError: it has no footer, or none that begins with a schema.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END))
    end = file.read(_END)
    length = int.from_bytes(end[:4], "little")
    if end[4:] != _MAGIC or not 0 < length <= min(size - _END, _MAX_FOOTER):
        raise PagesError("it does not end as a Parquet file does")
    file.seek(size - _END - length)
    footer = file.read(length)
    try:
        for number, kind, at in _fields(footer, 0):
            if number == _SCHEMA and kind == _LIST:
                return _depth(footer, at)
    except IndexError as error:
        raise PagesError("its footer is damaged") from error
    raise PagesError("its footer has no schema")


def _depth(footer: bytes, at: int) -> int:
    """The nesting of elements that stand parent first, each with the number of its children."""
    count, kind, at = _list_head(footer, at)
    if kind != _STRUCT:
        raise PagesError("its schema is no list of elements")
    open_groups: list[int] = []
    deepest = 0
    for _ in range(count):
        children = 0
        for number, kind, place in _fields(footer, at):
            if number == _CHILDREN and kind in _INTEGERS:
                children = _zigzag(footer, place)[0]
        at = _skip(footer, at, _STRUCT, 0)
        deepest = max(deepest, len(open_groups))
        if open_groups:
            open_groups[-1] -= 1
        if children > 0:
            open_groups.append(children)
        while open_groups and open_groups[-1] == 0:
            open_groups.pop()
    return deepest


def pages_of(file: IO[bytes], start: int, size: int, values: int) -> Pages:
    """What the heads of a column's pages claim. Follows them as the library does: until all values were met.

    Args:
        file: the open file.
        start: where the first page begins, ``size`` the bytes of all of them, as the footer says.
        values: how many there are, as the footer says.

    Raises:
        PagesError: a head cannot be read, or claims a negative number.
    """
    at, end = start, start + size
    dictionary = largest = total = seen = 0
    while seen < values and at < end + _PADDING:
        head = _head(file, at)
        if head is None:
            break
        kind, inflated, packed, count, length = head
        if inflated < 0 or packed < 0 or count < 0:
            raise PagesError("a page claims a negative size")
        total += inflated
        if kind == _DICTIONARY:
            dictionary = max(dictionary, inflated)
        else:
            largest = max(largest, inflated)
            seen += count
        at += length + packed
    return Pages(dictionary, largest, total, seen)


def _head(file: IO[bytes], at: int) -> tuple[int, int, int, int, int] | None:
    """(kind, bytes inflated, bytes packed, values, bytes of the head itself) of the page there; None at the end."""
    size = _FIRST_HEAD
    while True:
        file.seek(at)
        data = file.read(size)
        if not data:
            return None
        try:
            return _parsed(data)
        except IndexError as error:
            if len(data) < size or size >= _MAX_HEAD:
                raise PagesError("the head of a page is damaged or too long") from error
            size *= 8


def _parsed(data: bytes) -> tuple[int, int, int, int, int]:
    found = {1: -1, 2: -1, 3: -1}
    counts: dict[int, int] = {}
    for number, kind, at in _fields(data, 0):
        if number in found and kind in _INTEGERS:
            found[number] = _zigzag(data, at)[0]
        elif number in _HEADS.values() and kind == _STRUCT:
            for inner, inner_kind, place in _fields(data, at):
                if inner == 1 and inner_kind in _INTEGERS:
                    counts[number] = _zigzag(data, place)[0]
    count = 0 if found[1] == _INDEX else counts.get(_HEADS.get(found[1], 0), -1)
    return found[1], found[2], found[3], count, _skip(data, 0, _STRUCT, 0)


# --- Thrift's compact protocol -------------------------------------------------------------------------------------


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise PagesError("a number has no end")


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _fields(data: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """(number, kind, where its value begins) of the fields of the structure there."""
    number = 0
    while head := data[at]:
        at += 1
        kind = head & 0x0F
        if head >> 4:
            number += head >> 4
        else:
            number, at = _zigzag(data, at)
        yield number, kind, at
        at = _skip(data, at, kind, 0)


def _list_head(data: bytes, at: int) -> tuple[int, int, int]:
    """(length, kind of the items, where they begin)."""
    head = data[at]
    at += 1
    count = head >> 4
    if count == 15:
        count, at = _varint(data, at)
    return count, head & 0x0F, at


def _skip(data: bytes, at: int, kind: int, depth: int) -> int:
    """Where the value of a kind ends. IndexError: beyond the data."""
    if depth > _MAX_DEPTH:
        raise PagesError("it is nested too deeply")
    if kind in (_TRUE, _FALSE):
        return at
    if kind == _BYTE:
        return _within(data, at + 1)
    if kind in _INTEGERS:
        return _varint(data, at)[1]
    if kind == _DOUBLE:
        return _within(data, at + 8)
    if kind == _BINARY:
        size, at = _varint(data, at)
        return _within(data, at + size)
    if kind in (_LIST, _SET):
        count, item, at = _list_head(data, at)
        for _ in range(count):
            # inside a list a truth value takes a byte
            at = _within(data, at + 1) if item in (_TRUE, _FALSE) else _skip(data, at, item, depth + 1)
        return at
    if kind == _MAP:
        count, at = _varint(data, at)
        kinds = data[at] if count else 0
        at += count > 0
        for _ in range(count):
            at = _skip(data, _skip(data, at, kinds >> 4, depth + 1), kinds & 0x0F, depth + 1)
        return at
    if kind == _STRUCT:
        while head := data[at]:
            at += 1
            if not head >> 4:
                at = _varint(data, at)[1]
            at = _skip(data, at, head & 0x0F, depth + 1)
        return at + 1
    raise PagesError("it has a field of no kind")


def _within(data: bytes, at: int) -> int:
    if at > len(data):
        raise IndexError
    return at
