"""``OUT/review``: drawn samples and the labels that people gave them, as files to which lines are only ever added.

``samples.jsonl`` has a line a drawn journey, ``labels.jsonl`` a line a label, with who gave it and when; correcting a
label adds another. Both hold pseudonymous person ids, stages and what the reviewer wrote, and nothing of the events. A
last line cut off by a crash is no line; any other damage is named with its number.

Errors: ``InputError`` for a damaged file, ``LockedError`` while another process writes.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from contracts.errors import InputError, LockedError
from models.review import UNSURE, Journey, Label, Sample, settled

FOLDER, SAMPLES, LABELS = "review", "samples.jsonl", "labels.jsonl"
_Row = TypeVar("_Row", Sample, Label)


class ReviewStore:
    """The audit's files of one output folder. ``out`` exists; the folder is made at the first write."""

    def __init__(self, out: Path) -> None:
        self.folder = out / FOLDER

    def samples(self) -> list[Sample]:
        """All that was ever drawn, in order of drawing."""
        return _read(self.folder / SAMPLES, Sample)

    def labels(self) -> list[Label]:
        """All labels, in order of writing."""
        return _read(self.folder / LABELS, Label)

    def add_samples(self, samples: Iterable[Sample]) -> int:
        """Add what is not there yet; how many that was."""
        with self._locked():
            known = {sample.sample_id for sample in self.samples()}
            new = [sample for sample in samples if sample.sample_id not in known]
            _append(self.folder / SAMPLES, new)
        return len(new)

    def add_labels(self, labels: Iterable[Label]) -> int:
        """Add labels; one that is there already, word for word, is not added twice. How many were added."""
        with self._locked():
            known = set(self.labels())
            new = [label for label in labels if label not in known]
            _append(self.folder / LABELS, new)
        return len(new)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise LockedError(
                    f"{self.folder} is being written by another process", hint="try again in a moment"
                ) from error
            yield


def training_labels(out: Path, stages: Iterable[str]) -> list[tuple[Journey, str]]:
    """What people settled on, for training: journey and stage.

    Left out are samples of which nobody is sure, and labels of stages that the ontology no longer has.
    """
    store = ReviewStore(out)
    given: dict[str, list[Label]] = {}
    for label in store.labels():
        given.setdefault(label.sample_id, []).append(label)
    known = set(stages)
    found: list[tuple[Journey, str]] = []
    for sample in store.samples():
        stage, _ = settled(given.get(sample.sample_id, []))
        if stage is not None and stage != UNSURE and stage in known:
            found.append((sample.journey, stage))
    return found


def _read(path: Path, kind: type[_Row]) -> list[_Row]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    decoder = msgspec.json.Decoder(kind)
    rows: list[_Row] = []
    # what follows the last line feed was cut off
    for number, line in enumerate(data.split(b"\n")[:-1], start=1):
        try:
            rows.append(decoder.decode(line))
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise InputError(
                f"{path}:{number} is no {kind.__name__.lower()}: {error}",
                hint="restore the file from a copy, or take the line out; lines are only ever added to it",
            ) from error
    return rows


def _append(path: Path, rows: Iterable[Sample] | Iterable[Label]) -> None:
    encoder = msgspec.json.Encoder()
    text = b"".join(encoder.encode(row) + b"\n" for row in rows)
    if not text:
        return
    with path.open("a+b") as file:
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
            if file.read(1) != b"\n":
                # a crash cut the last line off: what is left of it is taken away, so that it does not join the next
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
