"""A training join never sees the future: what happened later, and what happened before and was received later."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from features import offline
from features.journey_features import FEATURE_NAMES
from features.names import MODEL_SERVICE
from features.repository import apply

T0 = datetime(2025, 1, 6, 12, tzinfo=UTC)
PERSONS = ("ann", "bob", "cyd")
HOURS = 12


@dataclass(frozen=True)
class Stated:
    """A row of the features table; ``at`` and ``created`` in hours, ``value`` is what every feature says."""

    person: str
    at: int
    created: int
    revision: int
    deleted: bool
    value: float


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose Feast repository is made once; each example writes its own rows."""
    made = tmp_path_factory.mktemp("out")
    apply(made)
    return made


@st.composite
def tables(draw: st.DrawFn) -> list[Stated]:
    """Evaluation points, most of them corrected by later runs: another value, received later, or taken back."""
    keys = draw(
        st.lists(st.tuples(st.sampled_from(PERSONS), st.integers(0, HOURS)), min_size=1, max_size=14, unique=True)
    )
    rows: list[Stated] = []
    for person, at in keys:
        created = at
        for revision in draw(st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True).map(sorted)):
            # a late event makes a row known later; the erasure of one makes it known earlier
            created = max(at, created + draw(st.integers(-2, 6)))
            rows.append(Stated(person, at, created, revision, draw(st.integers(0, 5)) == 0, float(len(rows))))
    return rows


def write(out: Path, rows: list[Stated]) -> None:
    """A part for each revision, as bounded runs write them."""
    folder = out / "tables" / "features"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for revision in {row.revision for row in rows}:
        of = [row for row in rows if row.revision == revision]
        moment = pa.timestamp("us", tz="UTC")
        columns = {
            "revision": pa.array([revision] * len(of), pa.int64()),
            "is_final": pa.array([False] * len(of)),
            "is_deleted": pa.array([row.deleted for row in of]),
            "person_id": pa.array([row.person for row in of]),
            "at": pa.array([T0 + timedelta(hours=row.at) for row in of], moment),
            "created": pa.array([T0 + timedelta(hours=row.created) for row in of], moment),
            **{name: pa.array([row.value for row in of], pa.float64()) for name in FEATURE_NAMES},
        }
        pq.write_table(pa.table(columns), folder / f"r{revision:06d}-a.parquet")


def known_then(rows: list[Stated], person: str, moment: int) -> float:
    """By looking at every row: of those that stand today, the latest that had happened and was known."""
    standing = {}
    for row in sorted(rows, key=lambda row: row.revision):
        standing[row.person, row.at] = row
    seen = [
        row
        for row in standing.values()
        if row.person == person and not row.deleted and row.at <= moment and row.created <= moment
    ]
    return max(seen, key=lambda row: row.at).value if seen else float("nan")


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(tables())
@example([Stated("ann", 1, 1, 1, False, 1.0), Stated("ann", 2, 8, 1, False, 2.0)])
@example([Stated("ann", 1, 1, 1, False, 1.0), Stated("ann", 1, 1, 2, True, 2.0)])
@example([Stated("ann", 3, 9, 1, False, 1.0), Stated("ann", 3, 3, 2, False, 2.0)])
def test_a_join_is_what_an_exhaustive_search_finds_without_the_future(out: Path, rows: list[Stated]) -> None:
    """Every person at every hour, and a microsecond before it."""
    moments = [(person, hour) for person in PERSONS for hour in range(-1, HOURS + 9)]
    frame = pd.DataFrame(
        {
            "person_id": [person for person, _ in moments for _ in range(2)],
            "event_timestamp": [
                T0 + timedelta(hours=hour) - timedelta(microseconds=early) for _, hour in moments for early in (0, 1)
            ],
        }
    )
    write(out, rows)
    joined = offline.historical(out, frame, service=MODEL_SERVICE)
    expected = [known_then(rows, person, hour - early) for person, hour in moments for early in (0, 1)]
    for name in ("events_1d", "known"):
        np.testing.assert_array_equal(joined[name].to_numpy(), expected)
