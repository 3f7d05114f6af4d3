"""Playing a world on: how its people answer the actions that a run of the pipeline took, and their life after that.

A run knows people by pseudonyms; the simulator knows the raw identifiers, so with the run's own pseudonym function it
finds who is meant. Truth stays here: nothing but events goes back to the pipeline.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from contracts import tables
from contracts.errors import InputError, OutputError, UsageError
from contracts.event import DAY, MINUTE
from sources.simulator import randomness
from sources.simulator.actions import Taken
from sources.simulator.config import Segment, World, WorldConfig, load_world
from sources.simulator.people import GENERATIONS, KIOSKS, People, people_of
from sources.simulator.world import Progress, SimulationSummary, write_segment

Pseudonym = Callable[[str, str], tuple[str, str] | None]
"""(namespace, raw value) to (namespace, pseudonym) as the run has it; None for an identifier that the run drops."""

_RANK = {"user_id": 0, "crm_id": 1, "email_sha256": 2, "phone": 3, "device_id": 4, "anonymous_id": 5}
"""How well an identifier tells who a person of the run truly is, best first."""


@dataclass(frozen=True, slots=True)
class RunAction:
    """An action that a run sent. ``at`` is the time of its decision."""

    action_id: str
    person_id: str
    at: int
    template: str
    channel: str


@dataclass(frozen=True, slots=True)
class RunActions:
    """The sent actions of a run, and by (namespace, pseudonym) which of their receivers holds what."""

    actions: tuple[RunAction, ...]
    holders: Mapping[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class ResponseSummary:
    """``answered``: actions new to the world; ``known``: already played before; ``unmatched``: receivers not found."""

    simulation: SimulationSummary
    answered: int
    known: int
    unmatched: int


@dataclass(frozen=True, slots=True)
class _Kept:
    """A played action as it is stored, so that later stretches of time continue from it."""

    action_id: str
    customer: int
    at: int
    arm: str
    channel: str


def read_run(out: Path) -> RunActions:
    """What a run sent, from the tables of its output folder.

    Raises:
        OutputError: the folder is no output of a run.
        InputError: it has no tables of actions, decisions and identifiers.
    """
    import duckdb

    from transforms.tables.output import check_readable
    from transforms.tables.sql import newest_rows, parts_sql

    folder = check_readable(out)
    connection = duckdb.connect()
    try:
        for table in (tables.ACTIONS, tables.DECISIONS, tables.IDENTIFIERS, tables.PERSONS):
            parts = sorted((folder.tables / table.name).glob("*.parquet"))
            if not parts:
                raise InputError(f"{out} has no table {table.name}", hint="finish a `wayline run` on it first")
            newest = newest_rows(table, parts_sql(parts))
            connection.execute(
                f"CREATE TEMP TABLE {table.name} AS SELECT * EXCLUDE (is_deleted) FROM ({newest}) WHERE NOT is_deleted"
            )
        connection.execute(
            "CREATE TEMP TABLE sent AS "
            "SELECT a.action_id, coalesce(p.merged_into, a.person_id) AS person_id, epoch_us(d.at) AS decided_at, "
            "coalesce(a.template, d.chosen) AS template, a.channel "
            "FROM actions a JOIN decisions d USING (decision_id) LEFT JOIN persons p ON p.person_id = a.person_id "
            "WHERE a.status = 'sent'"
        )
        actions = connection.execute("SELECT * FROM sent ORDER BY decided_at, action_id").fetchall()
        holders = connection.execute(
            "SELECT namespace, value, person_id FROM identifiers WHERE person_id IN (SELECT person_id FROM sent)"
        ).fetchall()
    finally:
        connection.close()
    return RunActions(
        tuple(RunAction(*row) for row in actions), {(space, value): person for space, value, person in holders}
    )


def respond(
    folder: Path,
    run: RunActions,
    pseudonym: Pseudonym,
    days: int,
    on_progress: Progress | None = None,
) -> ResponseSummary:
    """Play the world in ``folder`` on by ``days``: the answers to a run's actions and ordinary life.

    Writes ``events/respond-NN-NNNNN.avro`` and brings ``truth`` up to date. An action takes effect at its decision's
    time, or at the world's present if that is later: what is decided about the past is sent now. Actions that the world
    has played before are not played again. Same world, same actions, same bytes.

    Raises:
        InputError: ``folder`` holds no world. UsageError: ``days`` is not positive. OutputError: it cannot be written.
    """
    if days < 1:
        raise UsageError(f"days is {days}", hint="play the world on by one day or more")
    world = load_world(folder)
    config, number = world.config, len(world.segments)
    present = world.segments[-1].end
    segment = Segment(present, present + days * DAY)
    kept = [action for earlier in range(1, number) for action in _read_kept(folder, earlier)]
    known = {action.action_id for action in kept}
    new = [action for action in run.actions if action.action_id not in known and action.at < segment.end]
    customers = _match(config, run.holders, pseudonym) if new else {}
    fresh = [
        _Kept(action.action_id, customers[action.person_id], _effective(config, action, present), *_what(action))
        for action in new
        if action.person_id in customers
    ]
    responses = _by_chunk(config, [*kept, *fresh])
    try:
        simulation = write_segment(config, folder, number, segment, responses, f"respond-{number:02d}", on_progress)
        _write_kept(folder, number, fresh)
        World(config, (*world.segments, segment)).save(folder)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from error
    return ResponseSummary(simulation, len(fresh), len(run.actions) - len(new), len(new) - len(fresh))


def _what(action: RunAction) -> tuple[str, str]:
    return action.template, action.channel


def _effective(config: WorldConfig, action: RunAction, present: int) -> int:
    """When the action reaches its receiver: never in the world's past."""
    spread = int(randomness.unit(config.seed, action.action_id, "sent") * 30 * MINUTE)
    return max(action.at, present + spread)


def _by_chunk(config: WorldConfig, actions: Sequence[_Kept]) -> dict[int, list[Taken]]:
    chunks: dict[int, list[Taken]] = defaultdict(list)
    for action in actions:
        chunk, person = divmod(action.customer, config.chunk_size)
        chunks[chunk].append(Taken(action.action_id, person, action.at, action.arm, action.channel, 1.0, False))
    return dict(chunks)


# --- who is meant ------------------------------------------------------------------------------------------------


def _match(config: WorldConfig, holders: Mapping[tuple[str, str], str], pseudonym: Pseudonym) -> dict[str, int]:
    """Person id of the run to customer number.

    Where the run holds several customers for one person, the one with the best known identifier is meant, the lowest
    number among equals.
    """
    best: dict[str, tuple[int, int]] = {}
    for chunk in range(config.chunks):
        people = people_of(config, chunk)
        for space, value, person in _identifiers(config, people):
            hidden = pseudonym(space, value)
            person_id = holders.get(hidden) if hidden is not None else None
            if person_id is not None:
                candidate = (_RANK[space], people.first + person)
                best[person_id] = min(best.get(person_id, candidate), candidate)
    return {person_id: customer for person_id, (_, customer) in best.items()}


def _identifiers(config: WorldConfig, people: People) -> Iterator[tuple[str, str, int]]:
    """Every identifier these people may have: namespace, raw value, row of the person. Kiosks are nobody's."""
    for space, values in (
        ("user_id", people.user_ids()),
        ("crm_id", people.crm_ids()),
        ("email_sha256", people.email_hashes()),
        ("phone", people.phones()),
    ):
        for person, value in enumerate(values):
            yield space, value, person
    devices = people.devices
    owner = np.repeat(np.arange(len(people)), people.device_count).tolist()
    _, first_member = np.unique(people.household_device[people.household_device >= 0], return_index=True)
    owner += np.flatnonzero(people.household_device >= 0)[first_member].tolist()
    values = devices.identifiers(config.seed)
    for device in range(len(devices.number) - KIOSKS):
        space = "device_id" if devices.is_app[device] else "anonymous_id"
        for value in values[device * GENERATIONS : (device + 1) * GENERATIONS]:
            yield space, value, owner[device]


# --- what the world remembers ------------------------------------------------------------------------------------


def _kept_path(folder: Path, number: int) -> Path:
    return folder / f"responses-{number:02d}.json"


def _write_kept(folder: Path, number: int, actions: Sequence[_Kept]) -> None:
    path = _kept_path(folder, number)
    partial = path.with_name(path.name + ".tmp")
    partial.write_text(json.dumps([asdict(action) for action in actions]), encoding="utf-8")
    partial.replace(path)


def _read_kept(folder: Path, number: int) -> list[_Kept]:
    path = _kept_path(folder, number)
    try:
        return [_Kept(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read, so the world cannot be played on", hint="simulate it again with --overwrite"
        ) from error
