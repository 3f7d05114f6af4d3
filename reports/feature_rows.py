"""What the features of a person are, how they went over time, and which events made each row.

Input: the tables of OUT. Output: dataclasses, told by ``reports.tell_features`` and drawn by
``reports.feature_plot``. A row of ``features`` says how many events made it, the last of them and a checksum of all, by
which what ``events`` holds now is compared. Of a row that was written before rows said so, the events are those that
``events`` holds now. Event time, aware UTC datetimes. Errors: ``InputError``. State: none.
"""

from __future__ import annotations

import difflib
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from contracts.errors import InputError
from features.journey_features import FEATURE_VERSION, STAGE_DERIVED, VERSIONS, Feature
from features.provenance import checksum
from reports.lookup import JourneyTables, Row


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a row was made of.

    Attributes:
        events: how many events made it.
        event_id, event_name, event_time: the latest of them in the order of a journey; without name and time when it
            is in the tables no more, and None when there is none.
        on_event: the event is at the instant itself; otherwise time alone made the point.
        agrees: the person's events at its instant and before are those that made it, and their latest received time is
            the row's ``created``. False: events came, were erased or changed their person since the row was written.
        version: the version of the vector; of a row that does not say it, the newest whose features it has all, None
            when it has those of none.
        code: the version of Wayline that computed it; None when the row does not say it.
    """

    events: int
    event_id: str | None
    event_name: str | None
    event_time: datetime | None
    on_event: bool
    agrees: bool
    version: str | None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One row of ``features``: its instant, when it could be known, the values, and what they were made of.

    ``values`` has a feature of the version asked for that the row lacks as None; ``revision`` grows with corrections.
    """

    at: datetime
    created: datetime
    revision: int
    is_final: bool
    values: dict[str, float | None]
    made: Provenance


@dataclass(frozen=True, slots=True)
class FeaturesNow:
    """The features of a person; ``horizon`` is the event time up to which the journey was folded, if it is known."""

    person_id: str
    asked: str
    version: str
    features: tuple[Feature, ...]
    reading: Reading
    horizon: datetime | None


@dataclass(frozen=True, slots=True)
class FeatureHistory:
    """One feature of a person at every evaluation point that has it, oldest first.

    ``lacking`` rows were written by a version without the feature.
    """

    person_id: str
    asked: str
    feature: Feature
    readings: tuple[Reading, ...]
    lacking: int

    @property
    def points(self) -> list[tuple[datetime, float]]:
        """(instant, value) of each reading."""
        found = ((reading.at, reading.values[self.feature.name]) for reading in self.readings)
        return [(at, value) for at, value in found if value is not None]


def features_of_version(version: str | None) -> tuple[str, tuple[Feature, ...]]:
    """A served version, the newest for None, and its features. Raises InputError for any other."""
    asked = version or FEATURE_VERSION
    if asked not in VERSIONS:
        raise InputError(f"{asked!r} is no version of the features", hint=f"served are {', '.join(VERSIONS)}")
    return asked, VERSIONS[asked]


def feature_named(name: str) -> Feature:
    """A feature of the newest version. Raises InputError when there is none of this name."""
    features = {feature.name: feature for feature in VERSIONS[FEATURE_VERSION]}
    if name in features:
        return features[name]
    if name in STAGE_DERIVED:
        raise InputError(
            f"{name} is derived from the stage: it is a fact for policies and no column of the features table",
            hint="see the moves in the transitions table",
        )
    near = difflib.get_close_matches(name, features, n=1)
    raise InputError(
        f"{name!r} is no feature of {FEATURE_VERSION}",
        hint=f"did you mean {near[0]!r}?" if near else "`wayline features list` names them all",
    )


def features_now(tables: JourneyTables, person_id: str, asked: str = "", version: str | None = None) -> FeaturesNow:
    """The newest row of a current person, as a version has it. Raises InputError: no such version, no row."""
    version, features = features_of_version(version)
    row = tables.first("features", "person_id = ?", [person_id], order='"at" DESC')
    if row is None:
        raise _no_row(person_id)
    journey = tables.first("journeys", "person_id = ?", [person_id])
    reading = _readings(tables, person_id, [row], features)[0]
    return FeaturesNow(person_id, asked, version, features, reading, journey["horizon"] if journey else None)


def feature_history(tables: JourneyTables, person_id: str, name: str, asked: str = "") -> FeatureHistory:
    """A feature of a current person over event time. Raises InputError: no such feature, no row that has it."""
    feature = feature_named(name)
    rows = tables.rows("features", "person_id = ?", [person_id], order='"at"')
    if not rows:
        raise _no_row(person_id)
    having = [row for row in rows if row.get(name) is not None]
    if not having:
        raise InputError(
            f"no row of {person_id} has {name}: all were written before v{feature.since} of the features",
            hint="run the same input into a new --out",
        )
    readings = _readings(tables, person_id, having, (feature,))
    return FeatureHistory(person_id, asked, feature, tuple(readings), len(rows) - len(having))


def _no_row(person_id: str) -> InputError:
    return InputError(
        f"{person_id} has no row in the features table",
        hint="a row is made at an event; the person's may all have been erased, or lie after the horizon of the run",
    )


def _readings(tables: JourneyTables, person_id: str, rows: Sequence[Row], features: Sequence[Feature]) -> list[Reading]:
    events = tables.rows("events", "person_id = ?", [person_id], order="event_time, event_id, strand_id")
    times = [event["event_time"] for event in events]
    known: list[datetime] = []
    sums: list[int] = []
    for event in events:
        known.append(max(known[-1], event["received_time"]) if known else event["received_time"])
        sums.append(checksum(event["event_id"], sums[-1] if sums else 0))
    return [
        Reading(
            row["at"],
            row["created"],
            row["revision"],
            bool(row["is_final"]),
            {feature.name: row.get(feature.name) for feature in features},
            _made(row, events, bisect_right(times, row["at"]), known, sums),
        )
        for row in rows
    ]


def _made(row: Row, events: Sequence[Row], count: int, known: Sequence[datetime], sums: Sequence[int]) -> Provenance:
    """``known`` and ``sums``: latest received time and checksum of the events up to each."""
    agrees = bool(count) and known[count - 1] == row["created"]
    if row.get("made_of") is not None:
        event_id = row["last_event_id"]
        last = next((event for event in reversed(events[:count]) if event["event_id"] == event_id), None)
        version, code = row["feature_version"], row["code_version"]
        made_of, agrees = row["made_of"], agrees and sums[count - 1] == row["events_checksum"]
    else:
        last = events[count - 1] if count else None
        event_id = last["event_id"] if last else None
        version, code, made_of = _version_of(row), None, count
    return Provenance(
        made_of,
        event_id,
        last["name"] if last else None,
        last["event_time"] if last else None,
        last is not None and last["event_time"] == row["at"],
        agrees,
        version,
        code,
    )


def _version_of(row: Row) -> str | None:
    for version, features in reversed(VERSIONS.items()):
        values = [row.get(feature.name) for feature in features]
        if all(value is not None and not math.isnan(value) for value in values):
            return version
    return None
