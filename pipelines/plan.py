"""From what the user asked to a ``RunPlan``: every file read, every check passed, before the graph is built.

A message here costs the user nothing; the same fault found by a worker costs a run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from contracts.errors import OutputError
from contracts.event import Identifier
from contracts.exchange import ErasedMark
from contracts.tables import feature_tables
from features.journey_features import feature_columns
from features.online_address import OnlinePlace, note_place, open_online, place_for
from models.ontology_registry import OntologyRegistry
from models.scoring import check_activated
from pipelines.definitions import Definitions
from pipelines.graph import RunPlan
from pipelines.run_options import RunOptions
from transforms.actions import ActRules
from transforms.identity.erasing import in_order
from transforms.identity.resolve import Tombstones
from transforms.identity.rules_file import load_rules
from transforms.journey.dated import Activated
from transforms.journey.worker import JourneySettings
from transforms.keys import DEAD_LETTER_KEY_VARIABLE, PSEUDONYM_KEY_VARIABLE, load_key
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.effects import SendCap, open_effects
from transforms.stores.identity import open_identity
from transforms.tables.output import MARKS, TOMBSTONES, OutputFolder, next_revision
from transforms.tables.part_names import parts_in
from transforms.validate import YEAR_2100, ValidationRules

_PREFLIGHT = 5.0
"""Seconds that a store of online features may take to answer before a run begins."""


def make_plan(
    options: RunOptions, definitions: Definitions, folder: OutputFolder, files: list[str], *, whole: bool = True
) -> RunPlan:
    """The plan of a run into a folder that is held for writing.

    Args:
        whole: the run states every person there is; False for a stream, which goes on with those who do something.

    Raises:
        ConfigurationError, InputError, ModelError, LockedError, OutputError: whatever would stop the run later.
    """
    config, ontology = definitions.config, definitions.ontology
    identity = load_rules(config.identity)
    registry = options.registry or folder.registry
    activations = check_activated(registry, ontology.stage_names)
    ontologies = OntologyRegistry(registry)
    if options.actions == "live":
        config.channels.preflight()
    stores = config.store or StoreAddress((folder.stores / STORE_FILE).resolve())
    open_effects(stores).close()
    known = open_identity(stores, identity, config.strand_shards)
    try:
        known.adopt()
    finally:
        known.close()
    online = _online_place(folder, definitions, whole=whole)
    features, scores = feature_tables(feature_columns(), ontology.stage_names)
    revision = next_revision(folder, options.now or 0)
    tombstones = read_tombstones(folder)
    log = [str(path) for path in parts_in(folder.log)]
    if options.as_of is not None:
        _refuse_to_forget(log, options.as_of)
    return RunPlan(
        files=tuple(files),
        log_parts=tuple(log),
        staging=str(folder.staging.resolve()),
        decided_notes=str(folder.decided_notes.resolve()),
        registry=str(registry.resolve()),
        stores=stores,
        actions=str(folder.actions.resolve()),
        online=online.address,
        as_of=options.as_of,
        revision=revision,
        strand_shards=config.strand_shards,
        journey_shards=config.journey_shards,
        maturity=config.maturity,
        identity=identity,
        validation=validation_rules(definitions, options.now),
        properties=config.properties,
        pseudonym_key=load_key(
            PSEUDONYM_KEY_VARIABLE,
            given=options.pseudonym_key,
            default=folder.keys / "pseudonym.key",
            create=revision == 1,  # a new key in an old folder would make every person anew, beside the old ones
        ),
        dead_letter_key=load_key(
            DEAD_LETTER_KEY_VARIABLE,
            given=options.dead_letter_key,
            default=folder.keys / "dead_letter.key",
            create=revision == 1,
        ),
        journey=JourneySettings(
            ontology,
            definitions.policies,
            config.lateness,
            revision,
            options.actions,
            config.action_max_age,
            features,
            scores,
            ontologies.dated(ontology),
            Activated(len(ontologies.activations().records), len(activations.records)),
        ),
        act=ActRules(
            mode=options.actions,
            horizon=0,
            max_age=config.action_max_age,
            caps=tuple(SendCap(c.per, c.limit, tuple(sorted(c.channels))) for c in definitions.policies.caps),
        ),
        channels=config.channels,
        tombstones=tombstones,
        marks=read_marks(folder, tombstones),
        models=tuple(
            (record.version, record.active_from)
            for record in activations.records
            if record.version is not None and record.version in activations.versions
        ),
        online_left=online.left,
    )


def _online_place(folder: OutputFolder, definitions: Definitions, *, whole: bool) -> OnlinePlace:
    """Where online features are written, found there and usable, and noted.

    Raises:
        ConfigurationError: the URL of a server is missing or none.
        LockedError, OutputError: the store cannot be used; or a stream would leave most persons in another one.
    """
    place = place_for(folder.feast, definitions.config.online_redis)
    if place.left and not whole:
        raise OutputError(
            f"the online features of {folder.root} are not where the configuration says now",
            hint="`wayline run --out OUT` with the same configuration writes all of them there; then stream",
        )
    for address in (place.address, *place.left):
        table = open_online(address, timeout=_PREFLIGHT)
        try:
            table.create()
        finally:
            table.close()
    note_place(folder.feast, place)
    return place


def validation_rules(definitions: Definitions, now: int | None) -> ValidationRules:
    """What a run that starts ``now`` (UTC microseconds) turns away."""
    config = definitions.config
    return ValidationRules(
        lateness=config.lateness,
        clock_skew=config.clock_skew,
        not_after=greatest_time(now, config.clock_skew),
        max_bytes=config.max_event_bytes,
        is_known=definitions.ontology.is_known,
    )


def greatest_time(now: int | None, clock_skew: int) -> int:
    """The greatest time that an event may state, in microseconds: the start of the run and the bound of clock skew.

    Without a clock it is the end of the range of times. ``as_of`` does not matter: what is later is left for a later
    run before it is judged.
    """
    return YEAR_2100 - 1 if now is None else min(now + clock_skew, YEAR_2100 - 1)


def read_tombstones(folder: OutputFolder) -> dict[Identifier, set[int]]:
    """What earlier runs erased: identifier pseudonym to the times up to which."""
    found: dict[Identifier, set[int]] = {}
    for namespace, value, until in _rows(folder, TOMBSTONES):
        found.setdefault(Identifier(namespace, value), set()).add(until)
    return found


def read_marks(folder: OutputFolder, tombstones: Tombstones) -> tuple[ErasedMark, ...]:
    """What stays of the events that earlier runs erased on devices that are carried.

    Args:
        tombstones: of the same folder; a login's newest says up to when its events are erased.
    """
    found: set[ErasedMark] = set()
    for namespace, value, login_namespace, login_value, at, logout, until in _rows(folder, MARKS):
        login = None if login_namespace is None else Identifier(login_namespace, login_value)
        newest = until if login is None else max(tombstones.get(login, (until,)))
        found.add(ErasedMark(Identifier(namespace, value), login, at, logout, newest))
    return tuple(in_order(found))


def _rows(folder: OutputFolder, kind: str) -> Iterator[list[Any]]:
    for path in sorted(folder.stores.glob(f"*{kind}")):
        try:
            yield from json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise OutputError(f"{path} cannot be read: {error}") from error


def _refuse_to_forget(log: list[str], as_of: int) -> None:
    """OUT may not go back in time: it would delete what is known after ``as_of``."""
    import pyarrow.parquet as pq

    for part in log:
        metadata = pq.read_metadata(part)
        for group in range(metadata.num_row_groups):
            for column in (1, 2):  # event time and received time: both had to be at or before it
                statistics = metadata.row_group(group).column(column).statistics
                if statistics is not None and statistics.has_min_max and statistics.max_raw > as_of:
                    raise OutputError(
                        "OUT already knows events after --as-of",
                        hint="choose a new --out folder for an earlier horizon",
                    )
