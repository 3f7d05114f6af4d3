"""Pushing: batches, the newest revision of a bundle, retired persons, and a worker without Feast."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import apache_beam as beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from contracts import coders
from contracts.exchange import OnlineFeatures
from features.journey_features import FEATURE_NAMES
from features.names import ROWS
from features.online_address import OnlineAddress
from features.online_table import ONLINE_FILE, OnlineTable
from features.online_writer import BATCH, OnlineWriter
from features.push import PushFeatures

ROOT = Path(__file__).resolve().parents[2]


def row(person: str, revision: int, at: int = 0) -> tuple[str, int, int, tuple[float, ...]]:
    return (person, revision, at, tuple([float(revision)] * len(FEATURE_NAMES)))


def revisions(folder: Path, *persons: str) -> list[int | None]:
    found = OnlineTable(folder / ONLINE_FILE, ROWS).read(list(persons))
    return [entry.revision if entry else None for entry in found]


def writer(folder: Path) -> OnlineWriter:
    made = OnlineWriter(OnlineAddress(path=folder / ONLINE_FILE))
    made.setup()
    return made


def test_a_pipeline_fills_the_online_store(tmp_path: Path) -> None:
    coders.register()
    elements = [
        OnlineFeatures((row("p1", 1), row("p2", 7))),
        OnlineFeatures((row("p1", 3), row("p2", 2))),
        OnlineFeatures((), ("gone",)),
    ]
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        push = PushFeatures(OnlineAddress(path=tmp_path / ONLINE_FILE))
        _ = pipeline | "Rows" >> beam.Create(elements) | "Push" >> beam.ParDo(push)
    assert revisions(tmp_path, "p1", "p2", "gone") == [3, 7, None]


def test_a_full_batch_is_written_before_the_bundle_ends(tmp_path: Path) -> None:
    made = writer(tmp_path)
    made.write(OnlineFeatures(tuple(row(f"p{n}", 1) for n in range(BATCH - 1))))
    assert revisions(tmp_path, "p0") == [None]
    made.write(OnlineFeatures((row("last", 1),)))
    assert revisions(tmp_path, "p0", "last") == [1, 1]


def test_a_retired_person_goes_and_one_that_comes_back_stays(tmp_path: Path) -> None:
    made = writer(tmp_path)
    made.write(OnlineFeatures((row("merged", 1), row("split", 1), row("kept", 1))))
    made.flush()
    made.write(OnlineFeatures((), ("merged", "split")))
    made.write(OnlineFeatures((row("split", 2),)))
    made.flush()
    assert revisions(tmp_path, "merged", "split", "kept") == [None, 2, 1]


def test_a_bundle_tried_again_changes_nothing(tmp_path: Path) -> None:
    made = writer(tmp_path)
    for _ in range(2):
        made.discard()
        made.write(OnlineFeatures((row("p", 4),), ("q",)))
        made.flush()
    assert revisions(tmp_path, "p", "q") == [4, None]


def test_what_a_failed_bundle_held_is_forgotten(tmp_path: Path) -> None:
    made = writer(tmp_path)
    made.write(OnlineFeatures((row("p", 4),)))
    made.discard()
    made.flush()
    assert revisions(tmp_path, "p") == [None]


def test_writing_online_imports_neither_feast_nor_beam(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from features.online_writer import OnlineWriter;"
        " from features.online_address import OnlineAddress;"
        " w = OnlineWriter(OnlineAddress(path=Path(sys.argv[1]) / 'online.db')); w.setup(); w.flush();"
        " print(sorted({'apache_beam', 'feast', 'pandas', 'ibis', 'redis'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
