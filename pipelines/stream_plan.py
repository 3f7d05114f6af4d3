"""From what the user asked of ``wayline stream`` to a ``StreamPlan``: every file read, every check passed, before the
graph is built. What a bounded run needs as well is in ``run``, made by ``pipelines.plan``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from contracts.errors import ConfigurationError, UsageError
from contracts.tables import JOURNEYS, Table
from pipelines.definitions import Definitions
from pipelines.graph import RunPlan
from pipelines.plan import make_plan
from pipelines.run_options import Mode, RunOptions
from pipelines.table_sink import DATAFLOW, DIRECT, FILES, BigQueryTables, bigquery_tables, check_dataflow
from sources.files_player import FilesSettings, files_in
from sources.pubsub import client
from sources.pubsub.puller import PubSubSettings
from transforms.actor.core import STATE_BYTES
from transforms.inputs import list_inputs
from transforms.journey.ontology import Ontology
from transforms.tables.output import OutputFolder
from transforms.tables.part_names import parts_in
from transforms.tables.stream_folder import DEFAULT_SHARDS, check_shards, shards_before
from transforms.tables.views import fetch, open_views

_SHARDS_OF_ONE = 2
_SHARDS_A_TASK = 8
"""What one task has, since each costs round trips a bundle; and of several each. Flink gives a shard to a task by a
hash of its number: of 8 shards one of two tasks would have seven, of 16 it has ten."""

FLINK = "flink"


@dataclass(frozen=True)
class StreamOptions:
    """What ``wayline stream`` was asked, as typed values.

    ``inputs``: event files, read once in the order of received time; with ``follow`` one folder that is followed.
    ``rate``: their events a second, None as fast as they are taken; ``live``: each at its received time.
    ``subscription``: of Pub/Sub, in place of files. ``shards``: actors a keyed stage; None: see ``settled_shards``.
    ``by_person``: the journey stage has one a person. ``state_bytes``: what they hold in memory at most, all together.
    ``pane``: seconds between two parts of a table. ``flink_master``: a cluster, ``host:port``; None: Flink inside this
    machine. ``workers``: worker processes of a machine on Flink: with two, journeys have one to themselves; None: two,
    on one core one. ``checkpoints``: their folder, None: in OUT; every ``checkpoint_every`` seconds. ``resume``: go on
    from the last of them. ``tables``, ``bigquery_dataset``, ``bigquery_connector``: see ``pipelines.table_sink``.
    ``beam`` holds further Beam options as given.
    """

    out: Path
    inputs: tuple[str, ...] = ()
    follow: bool = False
    rate: float | None = None
    live: bool = False
    subscription: str | None = None
    runner: str = FLINK
    actions: Mode = "dry-run"
    config: Path | None = None
    registry: Path | None = None
    pseudonym_key: Path | None = None
    dead_letter_key: Path | None = None
    session_by: str | None = None
    shards: int | None = None
    by_person: bool = False
    state_bytes: int = STATE_BYTES
    pane: int = 2
    flink_master: str | None = None
    parallelism: int = 1
    workers: int | None = None
    checkpoints: Path | None = None
    checkpoint_every: float = 1.0
    resume: bool = False
    tables: str = FILES
    bigquery_dataset: str | None = None
    bigquery_connector: str | None = None
    beam: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class StreamPlan:
    """Everything the streaming graph needs, checked. ``number`` counts the streams on OUT.

    ``retried``: the engine tries bundles again and numbers panes, so parts are named by pane. ``purges``: see
    ``transforms.purge``. ``apart``: journeys have a worker process to themselves. ``drain``: see ``transforms.drain``.
    ``finished``: the file that says that all has drained (``transforms.finish``). ``bigquery``: where the tables go
    besides; on Dataflow, instead.
    """

    run: RunPlan
    source: FilesSettings | PubSubSettings
    out: str
    number: int
    tables: tuple[Table, ...]
    by_person: bool
    state_bytes: int
    pane: int
    runner: str
    retried: bool
    apart: bool
    drain: str
    purges: str
    finished: str
    bigquery: BigQueryTables | None = None

    @property
    def run_id(self) -> str:
        """Names the stream in the ledger."""
        return f"stream-{self.number:06d}"


def settled_shards(options: StreamOptions, folder: OutputFolder) -> StreamOptions:
    """The options with as many shards as asked for, or else as the streams before on OUT had, or as suits the engine.

    Raises:
        UsageError: no power of two, or another number than the streams before.
    """
    asked = options.shards
    if asked is not None and (asked < 1 or asked & (asked - 1)):
        raise UsageError(f"--state-shards {asked} is no power of two", hint="try 16; 0 only keys by person")
    before = shards_before(folder)
    by_person = options.by_person or (asked is None and before == 0)
    if by_person:
        # noted as 0, so the strand stage has as many whatever the engine
        check_shards(folder, 0)
        return replace(options, shards=DEFAULT_SHARDS, by_person=True)
    shards = asked or before or _suitable(options)
    check_shards(folder, shards)
    return replace(options, shards=shards)


def _suitable(options: StreamOptions) -> int:
    """Fewer shards answer sooner; a stage cannot use more tasks than it has shards."""
    tasks = options.parallelism
    on_this_machine = options.runner != DATAFLOW and options.flink_master is None
    if on_this_machine and tasks == 1:
        return _SHARDS_OF_ONE
    enough: int = 1 << (_SHARDS_A_TASK * tasks - 1).bit_length()
    return enough if on_this_machine else max(DEFAULT_SHARDS, enough)


def _workers(options: StreamOptions) -> int:
    """Worker processes: one core has no use for two. What a cluster's launcher has says nothing of the others."""
    if options.workers is not None:
        return options.workers
    return 2 if options.flink_master is not None else min(2, os.cpu_count() or 1)


def make_stream_plan(
    options: StreamOptions, definitions: Definitions, folder: OutputFolder, number: int, now: int
) -> StreamPlan:
    """The plan of a stream into a folder that is held for writing.

    Args:
        options: as ``settled_shards`` gives them.
        number: of this stream on OUT (``transforms.tables.stream_folder``).
        now: UTC microseconds.

    Raises:
        ConfigurationError, InputError, ModelError, LockedError, OutputError: whatever would stop it later.
    """
    shards = options.shards or DEFAULT_SHARDS
    check_dataflow(
        options.runner,
        options.beam,
        from_files=options.subscription is None,
        online_in_out=definitions.config.online_redis is None,
    )
    config = replace(definitions.config, strand_shards=shards, journey_shards=shards)
    bounded = RunOptions(
        (),
        options.out,
        actions=options.actions,
        config=options.config,
        registry=options.registry,
        pseudonym_key=options.pseudonym_key,
        dead_letter_key=options.dead_letter_key,
        session_by=options.session_by,
        now=now,
    )
    run = make_plan(bounded, replace(definitions, config=config), folder, [], whole=False)
    if run.journey.activated.ontologies == 0:
        _check_history(folder, definitions.tables, run.journey.ontology)
    bigquery = bigquery_tables(
        options.tables, options.bigquery_dataset, options.bigquery_connector, options.runner, run.stores
    )
    if options.by_person and run.log_parts and not options.resume:
        raise UsageError(
            f"{options.out} has a history, and a journey stage keyed by person takes over none",
            hint="leave --state-shards, or stream to another folder",
        )
    drain = str(drain_file(folder, number))
    return StreamPlan(
        run=run,
        source=source_of(options, drain),
        out=str(folder.root.resolve()),
        number=number,
        tables=definitions.tables,
        by_person=options.by_person,
        state_bytes=options.state_bytes,
        pane=options.pane,
        runner=options.runner,
        retried=options.runner != DIRECT,
        apart=options.runner == FLINK and _workers(options) > 1,
        drain=drain,
        purges=str(folder.purges.resolve()),
        finished=str(finished_file(folder, number)),
        bigquery=bigquery,
    )


def _check_history(folder: OutputFolder, tables: tuple[Table, ...], ontology: Ontology) -> None:
    """Whether journeys were folded by the project's ontology, where none was ever activated: a stream goes on from what
    was stated of them, and would take what another one said for its own."""
    if not parts_in(folder.tables / JOURNEYS.name):
        return
    connection = open_views(folder.root, tables)
    try:
        sql = f"SELECT min(ontology_version) FROM {JOURNEYS.name} WHERE ontology_version <> ?"
        ((other,),) = fetch(connection, sql, [ontology.version])[1]
    finally:
        connection.close()
    if other is not None:
        raise ConfigurationError(
            ontology.path,
            None,
            f"this is version {ontology.version}, but the journeys of {folder.root} were folded by {other}",
            hint="`wayline run --out OUT` folds them by it, then stream; or let the project's configuration name the "
            "file of before, and put this one in force from a date on: `wayline ontology activate`",
        )


def source_of(options: StreamOptions, drain: str) -> FilesSettings | PubSubSettings:
    """The source that was asked for, found good.

    Args:
        drain: the file that asks it for its end.

    Raises:
        UsageError: none, or both, or what does not go together.
        InputError: nothing to read, no such folder, no such subscription or no permission.
    """
    if options.subscription is not None:
        if options.inputs or options.follow or options.live or options.rate is not None:
            raise UsageError(
                "--input, --follow, --live and --rate are for files", hint="leave them, or leave --subscription"
            )
        endpoint = client.emulator_endpoint()
        deadline = client.check_subscription(options.subscription, endpoint)
        return PubSubSettings(options.subscription, endpoint, ack_deadline=deadline, drain=drain)
    if not options.inputs:
        raise UsageError("there is nothing to stream from", hint="give --input DIR or --subscription NAME")
    if options.follow:
        if len(options.inputs) > 1:
            raise UsageError("--follow follows one folder", hint="give --input once")
        if options.live:
            raise UsageError("--live is for files that are read once", hint="leave --follow, or take --rate")
        folder = options.inputs[0]
        files_in(folder)
        return FilesSettings(follow=str(Path(folder).resolve()), rate=options.rate, drain=drain)
    return FilesSettings(tuple(list_inputs(options.inputs)), rate=options.rate, live=options.live, drain=drain)


def drain_file(folder: OutputFolder, number: int) -> Path:
    """The file that asks stream ``number`` on OUT for its end (``transforms.drain``)."""
    return folder.streams.resolve() / f"{number:04d}.drain"


def finished_file(folder: OutputFolder, number: int) -> Path:
    """The file that says that stream ``number`` on OUT has drained (``transforms.finish``)."""
    return folder.streams.resolve() / f"{number:04d}.finished"
