"""From the tables of an output folder to the rows the stage model is trained and tested on.

A moment of training is when a point could first be scored: the later of its event time and the latest received time
among its events. Features come from Feast as they were known at that moment, the target from the events after it, or,
where people labelled the point in an audit, from what they settled on.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.errors import ModelError
from contracts.event import DAY
from contracts.tables import EVENTS, JOURNEYS, LABELS, feature_tables
from features.journey_features import MODEL_INPUT_NAMES, feature_columns
from models.gate import MOMENT, PERSON, TARGET
from models.review_store import training_labels
from models.target import UNKNOWN, behaviour_ranks, furthest_stage, rank_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Historical = Callable[[Path, Any], Any]
"""(OUT, entity frame with ``person_id``, ``event_timestamp`` and more) to the same rows with the features added."""

_SHARES = (65, 80)
"""Percent of persons below which a person trains, calibrates; the rest tests."""


@dataclass(frozen=True)
class StageDefinitions:
    """What training needs of the ontology.

    Stages in order, their defining behaviours, the ontology's version, and the stages that rules alone decide.
    """

    stages: tuple[str, ...]
    defining: Mapping[str, frozenset[str]]
    version: str
    certain: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Moments:
    """Entity rows with their targets (stage indices). ``horizon`` is that of the output folder."""

    persons: npt.NDArray[Any]
    times: Ints
    target: Ints
    horizon: int


@dataclass(frozen=True)
class Split:
    """Row numbers. Persons of the three sets are disjoint, and all targets of ``train`` and ``calibrate`` were known
    at ``cutoff``, after which every row of ``test`` lies."""

    train: Ints
    calibrate: Ints
    test: Ints
    cutoff: int


def read_horizon(out: Path) -> int:
    """The event time up to which OUT was folded, microseconds. Raises ModelError when there is no journey in it."""
    from transforms.tables.views import view_sql

    connection, folder = _open(out)
    try:
        if not any((folder.tables / JOURNEYS.name).glob("*.parquet")):
            raise ModelError(f"{out} holds no tables yet", hint="run the pipeline on events first: wayline run")
        row = connection.execute(f"SELECT epoch_us(max(horizon)) FROM ({view_sql(folder, JOURNEYS)})").fetchone()
    finally:
        connection.close()
    if row is None or row[0] is None:
        raise ModelError(f"{out} holds no journeys yet", hint="run the pipeline on events first: wayline run")
    return int(row[0])


def read_moments(out: Path, definitions: StageDefinitions, window: int, max_rows: int) -> Moments:
    """Moments whose target is known, at most ``max_rows`` of them, chosen by hash so that the choice is repeatable.

    A point that people labelled in an audit (``models.review_store``) is a moment in any case, whatever the events
    after it or their absence say: its target is the label.

    Args:
        out: an output folder of the pipeline.
        definitions: stages and what defines them.
        window: H, microseconds.
        max_rows: bound of memory and training time; labelled points come on top.

    Raises:
        ModelError: no point's H has passed before the horizon.
    """
    from transforms.tables.views import view_sql

    horizon = read_horizon(out)
    connection, folder = _open(out)
    try:
        features, _ = feature_tables(feature_columns(), definitions.stages)
        connection.execute(
            f"CREATE TEMP TABLE moments AS SELECT DISTINCT person_id, "
            f'greatest(epoch_us("at"), epoch_us(created)) AS moment FROM ({view_sql(folder, features)}) '
            f'WHERE greatest(epoch_us("at"), epoch_us(created)) <= {horizon - window}'
        )
        points = connection.execute(
            "SELECT person_id, moment FROM moments "
            f"ORDER BY md5(person_id || moment::VARCHAR), person_id, moment LIMIT {max_rows}"
        ).fetchnumpy()
        found = defining_events(connection, f"({view_sql(folder, EVENTS)})", definitions)
        labelled = _labelled(connection, view_sql(folder, features), out, definitions.stages)
    finally:
        connection.close()
    if not len(points["moment"]) and not labelled:
        raise ModelError(
            f"{out}: no point is {window / DAY:g} days older than the horizon, so no target is known",
            hint="give more days of events, or a smaller --horizon-days",
        )
    order = np.lexsort((points["moment"], points["person_id"]))
    persons, times = points["person_id"][order], points["moment"][order].astype(np.int64)
    target = furthest_stage(persons, times, *found, window, len(definitions.stages))
    for (person, moment), stage in labelled.items():
        low, high = np.searchsorted(persons, [person, f"{person}\0"])
        same = low + np.flatnonzero(times[low:high] == moment)
        if len(same):
            target[same] = stage
        else:
            persons, times, target = (
                np.insert(persons, high, person), np.insert(times, high, moment), np.insert(target, high, stage),
            )  # fmt: skip
    told = target != UNKNOWN
    if not told.any():
        raise ModelError(
            f"{out}: after no point does anything happen within {window / DAY:g} days that defines a stage",
            hint="give a larger --horizon-days, or check `defining` in the ontology against the events that come",
        )
    persons, times, target = persons[told], times[told], target[told]
    order = np.lexsort((times, persons))
    return Moments(persons[order], times[order], target[order], horizon)


def _labelled(connection: Any, features_sql: str, out: Path, stages: Sequence[str]) -> dict[tuple[str, int], int]:
    """Moments of the points that people labelled, with the stage they settled on.

    A point that is no more, because its person was erased or merged, has no moment; so its label trains nothing.
    """
    given = [(j.person_id, j.at, stages.index(stage)) for j, stage in training_labels(out, stages)]
    if not given:
        return {}
    connection.execute("CREATE TEMP TABLE review (person_id VARCHAR, point BIGINT, stage BIGINT)")
    connection.executemany("INSERT INTO review VALUES (?, ?, ?)", given)
    rows = connection.execute(
        f'SELECT r.person_id, greatest(epoch_us(f."at"), epoch_us(f.created)), r.stage FROM review r '
        f'JOIN ({features_sql}) f ON f.person_id = r.person_id AND epoch_us(f."at") = r.point'
    ).fetchall()
    return {(str(person), int(moment)): int(stage) for person, moment, stage in rows}


def defining_events(connection: Any, source: str, definitions: StageDefinitions) -> tuple[npt.NDArray[Any], Ints, Ints]:
    """Every event that tells of a stage: its person, its time and the index of the stage.

    Args:
        connection: to DuckDB; it gets a temporary table.
        source: what the events are read from, in SQL.
        definitions: stages and what defines them.
    """
    # few distinct sets of behaviours occur, so their JSON is read once each
    sets = connection.execute(f"SELECT DISTINCT behaviours FROM {source}").fetchall()
    ranks = behaviour_ranks(definitions.stages, definitions.defining)
    known = [(text, rank_of(json.loads(text), ranks)) for (text,) in sets if text]
    known = [(text, rank) for text, rank in known if rank != UNKNOWN]
    connection.execute("CREATE OR REPLACE TEMP TABLE ranks (behaviours VARCHAR, rank BIGINT)")
    if known:
        connection.executemany("INSERT INTO ranks VALUES (?, ?)", known)
    found = connection.execute(
        f"SELECT e.person_id, epoch_us(e.event_time) AS time, r.rank FROM {source} AS e "
        "JOIN ranks AS r ON e.behaviours = r.behaviours WHERE e.person_id IS NOT NULL"
    ).fetchnumpy()
    return found["person_id"], found["time"].astype(np.int64), found["rank"].astype(np.int64)


def join_features(out: Path, moments: Moments, stages: Sequence[str], historical: Historical | None = None) -> Any:
    """The training frame: one row a moment with the model's inputs as known then, ordered as the moments.

    Raises:
        ModelError: the join lost, doubled or renamed something.
    """
    import pandas as pd

    if historical is None:
        from features.feast_import import feast
        from features.offline import historical as through_feast

        # Feast sets warning filters when it is imported; here, so that those below come after.
        feast()
        historical = through_feast
    names = np.asarray(stages, dtype=object)
    entities = pd.DataFrame(
        {
            PERSON: moments.persons.astype(object),
            MOMENT: pd.to_datetime(moments.times, unit="us", utc=True),
            TARGET: names[moments.target],
        }
    )
    with warnings.catch_warnings():
        # Feast's DuckDB store calls what DuckDB has renamed; nothing a user of Wayline could mend.
        warnings.simplefilter("ignore", DeprecationWarning)
        frame = historical(out, entities)
    missing = [name for name in (PERSON, MOMENT, TARGET, *MODEL_INPUT_NAMES) if name not in frame.columns]
    if missing:
        raise ModelError(f"the feature join has no column {missing[0]!r}", hint="run `wayline features apply` again")
    frame = frame.sort_values([PERSON, MOMENT], kind="stable").reset_index(drop=True)
    if len(frame) != len(entities):
        raise ModelError(f"the feature join made {len(frame)} rows of {len(entities)}")
    return frame[[PERSON, MOMENT, TARGET, *MODEL_INPUT_NAMES]]


def split(persons: npt.NDArray[Any], times: Ints, window: int) -> Split:
    """Divide rows by person and by time.

    The cutoff is the moment after which three tenths of the rows lie. Persons are divided by a hash that stays the same
    from one training to the next, so a test person of today has trained no earlier model.
    """
    unique, codes = np.unique(persons, return_inverse=True)
    buckets = np.array([_bucket(str(person)) for person in unique], dtype=np.int64)[codes]
    cutoff = int(np.quantile(times, 0.7)) if len(times) else 0
    known = times + window <= cutoff
    train = np.flatnonzero((buckets < _SHARES[0]) & known)
    calibrate = np.flatnonzero((buckets >= _SHARES[0]) & (buckets < _SHARES[1]) & known)
    test = np.flatnonzero((buckets >= _SHARES[1]) & (times > cutoff))
    return Split(train, calibrate, test, cutoff)


def label_summary(out: Path) -> dict[str, dict[str, float]]:
    """What matured labels say by arm: number, conversions, and the inverse-propensity estimate of the conversion rate.

    The estimate is self-normalised: the rate that would be seen were everyone given the arm, as far as the logged
    propensities tell. Outcome models are trained elsewhere; the stage model's report carries this for its reader.
    """
    from transforms.tables.views import view_sql

    connection, folder = _open(out)
    try:
        if not any((folder.tables / LABELS.name).glob("*.parquet")):
            return {}
        rows = connection.execute(
            "SELECT arm, count(*), count(*) FILTER (outcome = 'converted'), "
            "sum(CASE WHEN outcome = 'converted' THEN 1 / propensity ELSE 0 END) / sum(1 / propensity) "
            f"FROM ({view_sql(folder, LABELS)}) WHERE propensity > 0 GROUP BY arm ORDER BY arm"
        ).fetchall()
    finally:
        connection.close()
    return {
        str(arm): {"labels": float(n), "converted": float(hits), "weighted_rate": float(rate)}
        for arm, n, hits, rate in rows
    }


def _bucket(person: str) -> int:
    digest = hashlib.blake2b(person.encode(), digest_size=4, person=b"wayline-split").digest()
    return int.from_bytes(digest, "big") % 100


def _open(out: Path) -> tuple[Any, Any]:
    from transforms.tables.commit import connect
    from transforms.tables.output import check_readable

    folder = check_readable(out)
    return connect(folder), folder
