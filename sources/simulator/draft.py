"""Events in the making: arrays of what life produced, before they get ids, arrival times and faults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sources.simulator.avro import Ints


@dataclass(frozen=True, slots=True)
class Draft:
    """Drafted events by column; ``of`` fills what is not given.

    ``session``, ``device`` and ``action`` are -1 for none; ``name``, ``consent``, ``context`` are catalogue codes;
    ``login``, ``email``, ``phone``, ``crm``, ``network`` say which identifiers the event carries besides its device's;
    ``order`` numbers a business transaction, 0 for none; ``properties`` is a row of the chunk's properties.
    """

    person: Ints
    at: Ints
    name: Ints
    session: Ints
    device: Ints
    action: Ints
    context: Ints
    consent: Ints
    order: Ints
    properties: Ints
    login: NDArray[np.bool_]
    email: NDArray[np.bool_]
    phone: NDArray[np.bool_]
    crm: NDArray[np.bool_]
    network: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.person)

    @staticmethod
    def of(person: ArrayLike, at: ArrayLike, name: ArrayLike, **given: ArrayLike) -> Draft:
        """Drafted events for people at times; scalars are repeated."""
        n = len(np.atleast_1d(np.asarray(person)))
        columns: dict[str, Any] = {"person": person, "at": at, "name": name, **given}
        made = {}
        for field in fields(Draft):
            is_flag = field.name in _FLAGS
            default = False if is_flag else (-1 if field.name in ("session", "device", "action") else 0)
            values = np.asarray(columns.get(field.name, default), dtype=np.bool_ if is_flag else np.int64)
            made[field.name] = np.broadcast_to(values, (n,))
        return Draft(**made)

    @staticmethod
    def concatenate(parts: Sequence[Draft]) -> Draft:
        return Draft(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Draft)})

    def take(self, rows: NDArray[Any]) -> Draft:
        """Rows by index or by mask."""
        return Draft(**{f.name: getattr(self, f.name)[rows] for f in fields(Draft)})

    def __add__(self, other: Draft) -> Draft:
        return Draft.concatenate([self, other])


_FLAGS = frozenset(("login", "email", "phone", "crm", "network"))


class Properties:
    """The distinct properties of a chunk's events; row 0 is the empty one."""

    def __init__(self) -> None:
        self.values: list[dict[str, Any]] = []

    def add(self, rows: Sequence[dict[str, Any]]) -> Ints:
        """Keep rows; their codes."""
        start = len(self.values) + 1
        self.values.extend(rows)
        return np.arange(start, start + len(rows), dtype=np.int64)
