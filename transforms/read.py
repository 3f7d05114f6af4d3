"""Read: event files to ``Received`` elements, counted where they come in.

Input: file names. Output: ``ReadOutputs``: ``received``, one element an event or a damaged part, in the order of the
piece of a file; ``ledger``, ``LedgerCount`` of kind ``received`` and ``after_horizon``, per piece. State: none; memory
bounded by one block a worker. A file that cannot be read gives one element with its reason; nothing here stops a run.
Events are not judged here.

A local file is read in pieces of about ``PIECE`` bytes. A runner gives each worker its share of elements beforehand: of
five whole files one of two workers would get three, and the other would have nothing to do at the end.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import apache_beam as beam
from apache_beam import pvalue
from apache_beam.typehints.native_type_compatibility import convert_to_beam_type

from contracts import coders as _coders  # noqa: F401  # registers the coders of what goes in and out
from contracts.event import Event
from contracts.exchange import LedgerCount, Received
from transforms.avro_file import Damage, places_to_cut, read_events
from transforms.decode import newest_decoder
from transforms.inputs import is_remote, open_file
from transforms.minimise import scrubbed
from transforms.worker_process import prepare_worker

LEDGER = "ledger"
PIECE = 1 << 20
"""Bytes of a piece, about: 10,000 packed events. To open one costs as much as some dozen events."""
_TO_THE_END = -1
_MAX_SOURCE = 200
UNNAMED = "(unnamed)"


def ledger_source(event: Event) -> str:
    """The source under which the ledger counts an event: its own name for it, cut where it is absurdly long.

    The ledger and dead letters show it in clear, so no e-mail address or phone number stays in it.
    """
    source = scrubbed(event.source[: 10 * _MAX_SOURCE])
    return (source if len(source) <= _MAX_SOURCE else scrubbed(source[:_MAX_SOURCE])) or UNNAMED


def file_label(name: str) -> str:
    """What a file is called in the ledger and in dead letters: its name without the folders, which vary by machine."""
    return name.rstrip("/").rpartition("/")[2][:_MAX_SOURCE] or UNNAMED


def pieces_of(name: str) -> list[tuple[int, int | None]]:
    """Begin and end of the pieces in which a file is read, None for the end of the file. Pure but for reading the file.

    A remote file is one piece: to find where another begins would take hundreds of requests.
    """
    if is_remote(name):
        return [(0, None)]
    try:
        size = os.path.getsize(name)
        with open_file(name) as stream:
            places = places_to_cut(stream, round(size / PIECE), size)
    except OSError:
        places = []  # whoever reads it says so
    return list(zip((0, *places), (*places, None), strict=True))


def received_of(
    name: str, as_of: int | None, counts: Counter[tuple[str, str]], start: int = 0, end: int | None = None
) -> Iterator[Received]:
    """Everything one file gives, counting each unit as it is handed out. Pure but for reading the file.

    Args:
        name: the file.
        as_of: events that happened or were received after this time (microseconds) are left for a later run.
        counts: (source, kind) to number, added to.
        start, end: a piece of the file (``pieces_of``); the whole by default.
    """
    label = file_label(name)
    schema_id = newest_decoder().schema_id
    try:
        with open_file(name) as stream:
            for item in read_events(stream, start, end):
                if isinstance(item, Damage):
                    counts[label, "received"] += 1
                    yield Received(label, item.schema_id, None, item.payload, item.reason, item.detail)
                    continue
                source = ledger_source(item)
                if as_of is not None and (item.event_time > as_of or item.received_time > as_of):
                    counts[source, "after_horizon"] += 1
                    continue
                counts[source, "received"] += 1
                yield Received(source, schema_id, item)
    except OSError as error:
        counts[label, "received"] += 1
        yield Received(label, "", None, name.encode("utf-8", "surrogateescape"), "unreadable", type(error).__name__)


class _CutFiles(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    def process(self, element: str) -> Iterator[tuple[str, int, int]]:
        for start, end in pieces_of(element):
            yield element, start, _TO_THE_END if end is None else end


class _ReadPieces(beam.DoFn):  # type: ignore[misc]
    def __init__(self, as_of: int | None) -> None:
        self._as_of = as_of

    def setup(self) -> None:
        prepare_worker()

    def process(self, element: tuple[str, int, int]) -> Iterator[Received | pvalue.TaggedOutput]:
        name, start, end = element
        counts: Counter[tuple[str, str]] = Counter()
        yield from received_of(name, self._as_of, counts, start, None if end == _TO_THE_END else end)
        for (source, kind), number in sorted(counts.items()):
            yield pvalue.TaggedOutput(LEDGER, LedgerCount(source, kind, number))


class ReadOutputs(NamedTuple):
    """What ``ReadEvents`` gives."""

    received: beam.PCollection[Received]
    ledger: beam.PCollection[LedgerCount]


class ReadEvents(beam.PTransform):  # type: ignore[misc]
    """Reads event files, in pieces that workers share.

    Args:
        files: what ``transforms.inputs.list_inputs`` gave.
        as_of: leave later events for a later run; None reads all.
    """

    def __init__(self, files: Sequence[str], as_of: int | None = None) -> None:
        super().__init__()
        self._files = list(files)
        self._as_of = as_of

    def expand(self, pbegin: pvalue.PBegin) -> ReadOutputs:
        outputs = (
            pbegin
            | "Files" >> beam.Create(self._files, reshuffle=False).with_output_types(str)
            | "CutFiles" >> beam.ParDo(_CutFiles()).with_output_types(tuple[str, int, int])
            | "Spread" >> beam.Reshuffle()
            | "ReadBlocks"
            >> beam.ParDo(_ReadPieces(self._as_of)).with_output_types(Received).with_outputs(LEDGER, main="received")
        )
        return ReadOutputs(outputs["received"], typed(outputs[LEDGER], LedgerCount))


def typed(collection: beam.PCollection, kind: type[object]) -> beam.PCollection:
    """State the element type of a tagged output, which Beam cannot infer: without it elements would be pickled."""
    # Beam's own form: a Python ``tuple[bytes, X]`` is no key and value to a later GroupByKey.
    collection.element_type = convert_to_beam_type(kind)
    return collection
