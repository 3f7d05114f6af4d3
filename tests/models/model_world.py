"""A small output folder whose tables say where each person is heading, for tests that train on real files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from contracts.event import DAY, HOUR, MINUTE
from contracts.tables import EVENTS, JOURNEYS, LABELS, Table, feature_tables
from features.journey_features import FEATURES, feature_columns
from models.dataset import StageDefinitions
from models.training import Trained, TrainingSettings
from transforms.tables.batches import arrow_schema
from transforms.tables.output import FORMAT

STAGES = ("discovery", "consideration", "decision", "customer")
DEFINITIONS = StageDefinitions(
    STAGES,
    {
        "discovery": frozenset(),
        "consideration": frozenset({"pricing_view"}),
        "decision": frozenset({"checkout"}),
        "customer": frozenset({"conversion"}),
    },
    "test@1",
)
START = 1_735_689_600_000_000
DAYS = 40
TELLING = 6
SHOWN = ("content_view", "pricing_view", "checkout", "conversion")


SETTINGS = TrainingSettings(window=2 * DAY)


@dataclass(frozen=True)
class TrainedWorld:
    """An output folder and the model that was trained on it."""

    out: Path
    trained: Trained


def write_world(out: Path, persons: int = 150, seed: int = 1) -> None:
    """Tables events, features, journeys and labels. A person's inclination moves slowly and shows, with noise, in the
    first features at each point and in what the person does next."""
    random = np.random.default_rng(seed)
    features, _ = feature_tables(feature_columns(), STAGES)
    events: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for number in range(persons):
        person = f"p_{number:04d}"
        inclination = random.integers(0, 4)
        for day in range(DAYS):
            if random.random() < 0.05:
                inclination = min(3, max(0, inclination + random.choice([-1, 1])))
            if random.random() < 0.2:
                continue
            at = START + day * DAY + int(random.integers(0, 20 * HOUR))
            shown = inclination if random.random() < 0.95 else random.integers(0, 4)
            events.append(_event(person, f"{person}-{day}", at, SHOWN[shown]))
            rows.append(_vector(person, at, inclination, random))
    write(out, EVENTS, events)
    write(out, features, rows)
    horizon = START + DAYS * DAY
    write(out, JOURNEYS, [{"person_id": "p_0000", "stage": STAGES[0], "since": START, "horizon": horizon}])
    labels = [
        _label(n, "mail" if n % 2 else "nothing", 0.5, "converted" if n % 2 and n % 3 == 0 else "none")
        for n in range(60)
    ]
    write(out, LABELS, labels)
    (out / "format.json").write_text(json.dumps({"format": FORMAT}))


def write(out: Path, table: Table, rows: list[dict[str, Any]], *, revision: int = 1, deleted: bool = False) -> None:
    """One part of a table, columns that a row does not name null."""
    folder = out / "tables" / table.name
    folder.mkdir(parents=True, exist_ok=True)
    meta = {"revision": revision, "is_final": False, "is_deleted": deleted}
    part = pa.Table.from_pylist([{**row, **meta} for row in rows], schema=arrow_schema(table))
    pq.write_table(part, folder / f"r{revision:06d}-{len(list(folder.iterdir()))}.parquet")


def _event(person: str, event_id: str, at: int, behaviour: str) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "person_id": person,
        "event_time": at,
        "received_time": at + MINUTE,
        "name": behaviour,
        "behaviours": json.dumps([behaviour]),
    }


def _vector(person: str, at: int, inclination: int, random: np.random.Generator) -> dict[str, Any]:
    telling = 2.0 * inclination + random.normal(0.0, 0.8, TELLING)
    noise = random.gamma(1.0, 2.0, len(FEATURES) - TELLING)
    values = np.maximum(np.concatenate([telling, noise]), 0.0).tolist()
    row: dict[str, Any] = {"person_id": person, "at": at, "created": at + MINUTE}
    for feature, value in zip(FEATURES, values, strict=True):
        greatest = feature.bounds[1]
        row[feature.name] = value if greatest is None else min(value / 10.0, greatest)
    return row


def _label(number: int, arm: str, propensity: float, outcome: str) -> dict[str, Any]:
    return {
        "decision_id": f"d{number}",
        "person_id": "p_0000",
        "arm": arm,
        "propensity": propensity,
        "origin": "logged",
        "outcome": outcome,
        "decided_at": START,
        "at": START,
        "matured_at": START,
    }
