"""Simulate a world: events as Avro in order of arrival, the truth beside them, and what is needed to play it on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import OutputError
from sources.simulator import avro
from sources.simulator.actions import Taken
from sources.simulator.arrival import arrive
from sources.simulator.avro import ContainerWriter
from sources.simulator.config import WORLD_FILE, Segment, World, WorldConfig
from sources.simulator.life import live
from sources.simulator.spill import Spill
from sources.simulator.truth import TruthWriter

Progress = Callable[[int, int], None]
"""Told (chunks of people done, chunks in all)."""

_A_DAY = 2.6
"""Events a customer and day, about: only to size the buckets."""
_LEAST_FILES = 4


@dataclass(frozen=True, slots=True)
class SimulationSummary:
    """What was written: ``records`` = ``events`` + ``duplicates`` + ``conflicts`` + ``malformed``. Microseconds."""

    records: int
    events: int
    duplicates: int
    conflicts: int
    malformed: int
    customers: int
    actions: int
    start: int
    end: int
    files: tuple[Path, ...]


def simulate(
    config: WorldConfig, out: Path, on_progress: Progress | None = None, *, overwrite: bool = False
) -> SimulationSummary:
    """Write a new world to ``out``: ``events/part-NNNNN.avro``, ``truth/*.parquet``, ``world.json``.

    Same config, same bytes. Memory depends on the size of a chunk of people, not of the world.

    Raises:
        OutputError: the folder cannot be written, or holds a world already and ``overwrite`` is not set.
    """
    try:
        _make_room(out, overwrite)
        segment = Segment(config.start, config.end)
        summary = write_segment(config, out, 0, segment, {}, "part", on_progress)
        World(config, (segment,)).save(out)
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror or error}") from error
    return summary


def write_segment(
    config: WorldConfig,
    out: Path,
    number: int,
    segment: Segment,
    responses: Mapping[int, Sequence[Taken]],
    prefix: str,
    on_progress: Progress | None,
) -> SimulationSummary:
    """Live one segment, one chunk after the other, and write it. ``responses``: chunk to actions its people got."""
    days = (segment.end - segment.start) / 86_400_000_000
    expected = round(config.customers * days * _A_DAY * config.activity)
    events = duplicates = conflicts = malformed = actions = 0
    for unfinished in (out / "events").glob(f"{prefix}-*.avro"):
        unfinished.unlink()
    truth = TruthWriter(out / "truth", since=segment.start if number else None)
    with Spill(out / "events" / ".spill", segment, expected) as spill:
        for chunk in range(config.chunks):
            life = live(config, chunk, number, segment, responses.get(chunk, ()))
            arrived = arrive(config, chunk, number, segment, life)
            spill.add(arrived.columns.received_time, avro.encode_events(arrived.columns))
            truth.add(life, arrived, segment.end)
            events += arrived.originals
            duplicates += arrived.duplicates
            conflicts += arrived.conflicts
            malformed += arrived.malformed
            actions += len(life.actions)
            if on_progress is not None:
                on_progress(chunk + 1, config.chunks)

        def open_part(part: int) -> ContainerWriter:
            name = f"{prefix}-{part:05d}"
            return ContainerWriter(
                out / "events" / f"{name}.avro", codec_name=config.codec, seed=f"{config.seed}:{name}"
            )

        per_file = min(config.events_per_file, max(1, -(-spill.records // _LEAST_FILES)))
        files = spill.write(open_part, per_file)
        records = spill.records
    truth.close()
    return SimulationSummary(
        records,
        events,
        duplicates,
        conflicts,
        malformed,
        config.customers,
        actions,
        segment.start,
        segment.end,
        tuple(files),
    )


def _make_room(out: Path, overwrite: bool) -> None:
    events = out / "events"
    held = [path for path in (out / WORLD_FILE, *events.glob("*.avro")) if path.exists()]
    if held and not overwrite:
        raise OutputError(f"{out} already holds a world ({held[0].name})", hint="give another folder, or --overwrite")
    for path in held:
        path.unlink()
    for path in out.glob("responses-*.json"):
        path.unlink()
    events.mkdir(parents=True, exist_ok=True)
