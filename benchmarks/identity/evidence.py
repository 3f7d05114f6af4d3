"""What the pipeline sees of each event: its identifiers after protection, its time, its visit; and the links it shows.

Input: event files, read, validated and protected by the pipeline's own functions. Output: ``Evidence``, columns of one
entry an event. Fields that say nothing about identity are not protected again here. Memory: about 30 bytes an event,
and the distinct sets of identifiers and links. Times are UTC microseconds of event time. The truth is not read here.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from array import array
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.identity.agreement import Ints
from contracts.event import Identifier
from contracts.exchange import Link
from transforms.collector import relax_collector
from transforms.identity.evidence import LinkBook
from transforms.identity.rules import IdentityRules
from transforms.protect import Protector, Pseudonymiser
from transforms.read import received_of
from transforms.validate import ValidationRules, Validator

NO_VISIT = 0
Identifiers = tuple[Identifier, ...]


@dataclass(frozen=True)
class Evidence:
    """Accepted events by column, each once, in order of ``event_id``.

    ``event_id`` and ``visit`` are ``number_of`` the texts, ``visit`` of the tracker's session or ``NO_VISIT``.
    ``place`` is the row in ``places`` of the event's identifiers (pseudonyms), ``logout`` says that the event ends the
    login on its device. ``links`` may repeat their ends.
    ``rejected`` counts what went no further, by reason.
    """

    event_id: NDArray[np.uint64]
    time: Ints
    visit: NDArray[np.uint64]
    place: Ints
    logout: NDArray[np.bool_]
    places: list[Identifiers]
    links: list[Link]
    rejected: Counter[str]
    received: int


@dataclass(frozen=True)
class _Part:
    columns: tuple[bytes, bytes, bytes, bytes, bytes]
    places: list[Identifiers]
    links: list[Link]
    rejected: Counter[str]
    received: int


def number_of(text: str) -> int:
    """64 bits that stand for a text; never 0."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") or 1


def gather(files: Sequence[str], rules: IdentityRules, key: bytes, workers: int) -> Evidence:
    """Read event files in several processes.

    Args:
        files: Avro files of events.
        rules: normalise and block identifiers, and say which links there are; owner policies do not matter here.
        key: the pseudonym key.
        workers: processes; 1 reads in this one.
    """
    joiner = _Joiner(rules)
    if workers == 1 or len(files) == 1:
        for file in files:
            joiner.add(_read(file, rules, key))
        return joiner.evidence()
    # spawned, not forked: the libraries loaded here have threads
    with ProcessPoolExecutor(min(workers, len(files)), multiprocessing.get_context("spawn")) as pool:
        for part in pool.map(_read, files, [rules] * len(files), [key] * len(files)):
            joiner.add(part)
    return joiner.evidence()


def _read(file: str, rules: IdentityRules, key: bytes) -> _Part:
    relax_collector()
    validator = Validator(ValidationRules())
    protector = Protector(rules, Pseudonymiser(key))
    book = LinkBook(rules)
    ids, times, visits, places, logouts = array("Q"), array("q"), array("Q"), array("q"), array("b")
    rows: dict[Identifiers, int] = {}
    counts: Counter[tuple[str, str]] = Counter()
    rejected: Counter[str] = Counter()
    visit_text, visit = "", NO_VISIT
    for received in received_of(file, None, counts):
        event = received.event
        if event is None:
            rejected[received.reason or "undecodable"] += 1
            continue
        verdict = validator.check(event)
        if verdict.reason is not None:
            rejected[verdict.reason] += 1
            continue
        place = protector.place(event.identifiers)
        if place is None:
            rejected["no_usable_identifier"] += 1
            continue
        book.observe(place.identifiers, event.name, event.event_id, event.event_time, event.received_time)
        if event.tracker_session_id is None:
            visit_text, visit = "", NO_VISIT
        elif event.tracker_session_id != visit_text:
            visit_text, visit = event.tracker_session_id, number_of(event.tracker_session_id)
        ids.append(number_of(event.event_id))
        times.append(event.event_time)
        visits.append(visit)
        places.append(rows.setdefault(place.identifiers, len(rows)))
        logouts.append(rules.is_logout(event.name))
    columns = (ids.tobytes(), times.tobytes(), visits.tobytes(), places.tobytes(), logouts.tobytes())
    received_in_all = sum(n for (_, kind), n in counts.items() if kind == "received")
    return _Part(columns, list(rows), book.drain(), rejected, received_in_all)


class _Joiner:
    """Joins what files gave, one after the other, so that what two of them say is held once."""

    def __init__(self, rules: IdentityRules) -> None:
        self._book = LinkBook(rules)
        self._rows: dict[Identifiers, int] = {}
        self._columns: list[tuple[NDArray[np.uint64], Ints, NDArray[np.uint64], Ints, NDArray[np.bool_]]] = []
        self._rejected: Counter[str] = Counter()
        self._received = 0

    def add(self, part: _Part) -> None:
        """Take what one file gave."""
        rows = self._rows
        moved = np.fromiter((rows.setdefault(place, len(rows)) for place in part.places), np.int64, len(part.places))
        ids, times, visits, places, logouts = part.columns
        self._columns.append(
            (
                np.frombuffer(ids, np.uint64),
                np.frombuffer(times, np.int64),
                np.frombuffer(visits, np.uint64),
                moved[np.frombuffer(places, np.int64)],
                np.frombuffer(logouts, np.bool_),
            )
        )
        for link in part.links:
            self._book.add(link)
        self._rejected.update(part.rejected)
        self._received += part.received

    def evidence(self) -> Evidence:
        """All of it; the joiner is empty afterwards."""
        ids, time, visit, place, logout = (np.concatenate(column) for column in zip(*self._columns, strict=True))
        self._columns.clear()
        # copies of an event name the same identifiers at the same time: any one of them will do
        event_id, first = np.unique(ids, return_index=True)
        self._rejected["duplicate"] += len(ids) - len(event_id)
        places, self._rows = list(self._rows), {}
        return Evidence(
            event_id, time[first], visit[first], place[first], logout[first], places, self._book.drain(),
            self._rejected, self._received,
        )  # fmt: skip
