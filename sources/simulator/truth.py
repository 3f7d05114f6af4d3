"""The truth of a world as Parquet, for evaluation only: the pipeline never reads it.

``events``: the person, the stage and the kind of arrival of each well-formed event. ``identifiers``: who really holds
which. ``stages``: the stays of each person. ``effects``: what each action changed. Times are UTC timestamps in
microseconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sources.simulator import avro, catalogue
from sources.simulator.arrival import ARRIVALS, Arrived, held_identifiers
from sources.simulator.life import Life, stages_of

_TIME = pa.timestamp("us", tz="UTC")
_TEXT = pa.string()

SCHEMAS: dict[str, Any] = {
    "events": pa.schema(
        [
            ("event_id", _TEXT),
            ("true_person_id", _TEXT),
            ("true_stage", _TEXT),
            ("event_time", _TIME),
            ("arrival", _TEXT),
        ]
    ),
    "identifiers": pa.schema(
        [("namespace", _TEXT), ("value", _TEXT), ("true_person_id", _TEXT), ("first_seen", _TIME)]
    ),
    "stages": pa.schema(
        [
            ("true_person_id", _TEXT),
            ("true_stage", _TEXT),
            ("entered_at", _TIME),
            ("left_at", _TIME),
            ("action_id", _TEXT),
        ]
    ),
    "effects": pa.schema(
        [
            ("action_id", _TEXT),
            ("true_person_id", _TEXT),
            ("at", _TIME),
            ("arm", _TEXT),
            ("channel", _TEXT),
            ("propensity", pa.float64()),
            ("origin", _TEXT),
            ("true_stage", _TEXT),
            ("persona", _TEXT),
            ("uplift", pa.float64()),
            ("converted_without", pa.bool_()),
            ("converted_with", pa.bool_()),
            ("converted_at", _TIME),
        ]
    ),
}


class TruthWriter:
    """Writes the four files, each under its own name only once it is whole.

    Args:
        folder: the ``truth`` folder.
        since: keep what the folder holds about events and identifiers before this time, and add to it; None for a new
            world. Stages and effects are always stated whole.
    """

    def __init__(self, folder: Path, *, since: int | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._identifiers: list[Any] = []
        self._adds = since is not None
        self._writers = {
            name: pq.ParquetWriter(folder / f"{name}.parquet.tmp", schema, compression="zstd")
            for name, schema in SCHEMAS.items()
        }
        if since is not None:
            # An attempt that was interrupted after its truth was written, but before the world knew, is not kept.
            limit = pa.scalar(since, pa.int64()).cast(_TIME)
            with pq.ParquetFile(folder / "events.parquet") as held:
                for group in range(held.num_row_groups):
                    rows = held.read_row_group(group)
                    self._writers["events"].write_table(rows.filter(pc.less(rows["event_time"], limit)))
            rows = pq.read_table(folder / "identifiers.parquet")
            self._identifiers.append(rows.filter(pc.less(rows["first_seen"], limit)))

    def add(self, life: Life, arrived: Arrived, until: int) -> None:
        """Write the truth about one chunk, as it is at ``until``."""
        names = pa.array(life.people.names(), _TEXT)
        stage_names = pa.array(catalogue.STAGES, _TEXT)
        draft = life.draft
        self._write(
            "events",
            [
                pa.array(avro.hex_ids(arrived.columns.event_id[: arrived.originals]), _TEXT),
                names.take(pa.array(draft.person)),
                stage_names.take(pa.array(life.paths.stage_at(draft.person, draft.at))),
                pa.array(draft.at).cast(_TIME),
                pa.array(ARRIVALS, _TEXT).take(pa.array(arrived.arrival)),
            ],
        )
        rows = held_identifiers(life, arrived.columns, arrived.originals)
        self._identifiers_of(rows, names)
        person, stage, entered, left, cause = stages_of(life, until)
        self._write(
            "stages",
            [
                pa.array(person, _TEXT),
                pa.array(stage, _TEXT),
                pa.array(entered).cast(_TIME),
                pa.array(left, pa.int64()).cast(_TIME),
                pa.array(cause, _TEXT),
            ],
        )
        effects = life.effects
        persons = np.array([effect.person for effect in effects], dtype=np.int64)
        stages = np.array([effect.stage for effect in effects], dtype=np.int64)
        self._write(
            "effects",
            [
                pa.array([effect.action_id for effect in effects], _TEXT),
                names.take(pa.array(persons)),
                pa.array([effect.at for effect in effects], pa.int64()).cast(_TIME),
                pa.array([effect.arm for effect in effects], _TEXT),
                pa.array([effect.channel for effect in effects], _TEXT),
                pa.array([effect.propensity for effect in effects], pa.float64()),
                pa.array(["logged" if effect.logged else "run" for effect in effects], _TEXT),
                stage_names.take(pa.array(stages)),
                pa.array(catalogue.PERSONAS, _TEXT).take(pa.array(life.people.persona[persons])),
                pa.array([effect.uplift for effect in effects], pa.float64()),
                pa.array([effect.converted_without for effect in effects], pa.bool_()),
                pa.array([effect.converted_with for effect in effects], pa.bool_()),
                pa.array([effect.converted_at for effect in effects], pa.int64()).cast(_TIME),
            ],
        )

    def _identifiers_of(self, rows: list[tuple[str, str, int, int]], names: Any) -> None:
        spaces, values, persons, first = zip(*rows, strict=True) if rows else ((), (), (), ())
        table = pa.table(
            [
                pa.array(spaces, _TEXT),
                pa.array(values, _TEXT),
                names.take(pa.array(persons, pa.int64())),
                pa.array(first, pa.int64()).cast(_TIME),
            ],
            schema=SCHEMAS["identifiers"],
        )
        if self._adds:
            self._identifiers.append(table)
        else:
            self._writers["identifiers"].write_table(table)

    def _write(self, name: str, columns: list[Any]) -> None:
        self._writers[name].write_table(pa.table(columns, schema=SCHEMAS[name]))

    def close(self) -> None:
        """Finish the files."""
        if self._adds:
            # An identifier seen in two stretches of time is one row, with its first sighting.
            table = pa.concat_tables(self._identifiers)
            keys = ["namespace", "value", "true_person_id"]
            table = table.group_by(keys, use_threads=False).aggregate([("first_seen", "min")])
            table = table.rename_columns([*keys, "first_seen"]).cast(SCHEMAS["identifiers"])
            order = pc.sort_indices(table, sort_keys=[(key, "ascending") for key in ("true_person_id", *keys[:2])])
            self._writers["identifiers"].write_table(table.take(order))
        for name, writer in self._writers.items():
            writer.close()
            (self._folder / f"{name}.parquet.tmp").replace(self._folder / f"{name}.parquet")
