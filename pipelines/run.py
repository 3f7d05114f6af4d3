"""Running a plan: hold OUT, build, run, balance the ledger, commit, renew the views. What ``wayline run`` does."""

from __future__ import annotations

import math
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.errors import LedgerError, OutputError
from contracts.tables import RUN_LEDGER
from pipelines import clock
from pipelines.definitions import Definitions, load_definitions
from pipelines.engine import early_workers, engine_options, execute
from pipelines.memory import share_memory
from pipelines.registry_used import note_registry
from pipelines.run_options import RunOptions, default_workers, find_inputs
from transforms.actions import check_decision_ledger
from transforms.tables.output import OutputFolder, writing
from transforms.tables.retired import compacting
from transforms.tables.stream_folder import DEFAULT_SHARDS, shards_before

if TYPE_CHECKING:
    from pipelines.graph import RunPlan
    from reports.table_check import Failure
    from transforms.ledger import LedgerRow


@dataclass(frozen=True)
class RunReport:
    """What a run did.

    ``models`` names the models in force, each with the event time from which it scores; none means rules alone.
    ``effects`` counts decisions and, by status, the actions they became; ``gained`` new and changed rows by table;
    ``profile`` CPU microseconds by stage: ``pipelines.profile``, ``commit``, and ``data_tests``, made after it;
    ``failures`` are the tests that do not hold of OUT. They are told and fail nothing: the tables are committed.
    """

    run_id: str
    revision: int
    rows: tuple[LedgerRow, ...]
    total: LedgerRow
    effects: dict[str, int]
    gained: dict[str, int]
    seconds: float
    profile: dict[str, int]
    models: tuple[tuple[str, int], ...] = ()
    failures: tuple[Failure, ...] = ()


Observe = Callable[[str, float | None], None]
"""(what is being done, share done or None): called from a thread of its own."""


def run(options: RunOptions, observe: Observe | None = None, definitions: Definitions | None = None) -> RunReport:
    """Run the bounded pipeline.

    Raises:
        WaylineError: whatever stops it; OUT then holds what it held before.
        LedgerError: the ledger does not balance; what was folded is committed all the same, and the ledger with it.
    """
    started = time.monotonic()
    share_memory()
    now = clock.now() if options.now is None else options.now
    options = replace(options, now=now)
    tell = observe or (lambda _what, _share: None)
    tell("checking", None)
    definitions = definitions or load_definitions(options.config, options.session_by)
    files = find_inputs(options)
    workers = options.workers or default_workers(files)
    with early_workers(options.runner, workers, model=_has_model(options)) as worker:
        return _run(options, definitions, files, workers, worker, tell, started)


def _has_model(options: RunOptions) -> bool:
    """Whether a model is in force at some time, by the look of the registry."""
    from models.scoring import POINTER

    return ((options.registry or OutputFolder(options.out).registry) / POINTER).is_file()


def _run(
    options: RunOptions,
    definitions: Definitions,
    files: list[str],
    workers: int,
    worker: str | None,
    tell: Observe,
    started: float,
) -> RunReport:
    """``run`` from when its workers begin to load: what takes long to import here is imported meanwhile."""
    from pipelines.graph import build
    from pipelines.plan import make_plan
    from pipelines.profile import profile
    from transforms import ledger
    from transforms.tables.compact_log import settle_log

    settings = engine_options(options.runner, workers, options.beam)
    now = options.now or 0
    with writing(options.out) as folder, compacting(folder):
        settle_log(folder, now / 1_000_000)
        plan = make_plan(options, definitions, folder, files)
        with _watched(folder, plan.strand_shards, plan.journey_shards, tell):
            result = execute(lambda pipeline: build(pipeline, plan), settings, worker)
        tell("committing", None)
        before_commit = time.process_time_ns()
        _forget_copies(folder, plan)
        rows = ledger.read(folder.staging)
        run_id = f"run-{plan.revision:06d}"
        report_total = ledger.total(rows)
        effects = ledger.read_decisions(folder.staging)
        gained = _commit(folder, definitions, plan.revision, run_id, rows)
        _retire(folder, plan)
        _shorten(plan)
        _note_activated(plan)
        note_registry(folder, Path(plan.registry))
        shutil.rmtree(folder.staging, ignore_errors=True)
        committing = (time.process_time_ns() - before_commit) // 1_000
        tell("testing the tables", None)
        before_tests = time.process_time_ns()
        from reports.table_check import failed_tests

        failures = tuple(failed_tests(options.out, definitions.tables))
        testing = (time.process_time_ns() - before_tests) // 1_000
        report = RunReport(
            run_id,
            plan.revision,
            rows,
            report_total,
            effects,
            gained,
            time.monotonic() - started,
            {**profile(result), "commit": committing, "data_tests": testing},
            plan.models,
            failures,
        )
    if report_total.missing:
        raise LedgerError(
            f"the ledger of {run_id} does not balance: {report_total.missing} of {report_total.received} received "
            "units are in no other column",
            hint="this is a defect of Wayline; the run_ledger table has the counts by source",
        )
    decided = report.effects.pop("decisions", 0)
    check_decision_ledger(decided, report.effects)
    return report


def _commit(
    folder: OutputFolder,
    definitions: Definitions,
    revision: int,
    run_id: str,
    rows: Sequence[LedgerRow],
) -> dict[str, int]:
    import duckdb
    import pyarrow as pa

    from transforms import ledger
    from transforms.tables.batches import columns_of, table_file
    from transforms.tables.commit import commit
    from transforms.tables.parts import write_part
    from transforms.tables.views import create_views

    columns = columns_of(
        [(run_id, r.source, *(getattr(r, kind) for kind in ledger.KINDS)) for r in rows], len(RUN_LEDGER.columns)
    )
    batch = table_file(RUN_LEDGER, "ledger", columns, revision=revision, is_final=True)
    if batch is not None:
        write_part(folder.staging, batch)
    try:
        gained = commit(folder, definitions.tables, revision)
        create_views(folder, definitions.tables)
    except (OSError, duckdb.Error, pa.ArrowException) as error:
        raise OutputError(
            f"{folder.root} cannot be written: {str(error).splitlines()[0]}",
            hint="the next run finishes what was begun; make room or mend permissions first",
        ) from error
    return gained


def _forget_copies(folder: OutputFolder, plan: RunPlan) -> None:
    """Take what the run erased, and what a stream erased that died since, out of the records that streams left.

    Before the commit: the log is what says that there was something to erase.
    """
    from transforms.purge import Shards, forget_copies, forget_of_run
    from transforms.stores.records import open_records
    from transforms.tables.log import ERASED, read_log

    actors = shards_before(folder)
    if actors is None:
        return
    parts = sorted((folder.staging / ERASED).glob("*.parquet"))
    shards = Shards(*[actors or DEFAULT_SHARDS] * 2)
    records = open_records(plan.stores)
    try:
        forget_copies(folder.purges, records, shards, math.inf)
        forget_of_run(records, shards, (event for part in parts for event in read_log(part)))
    finally:
        records.close()


def _retire(folder: OutputFolder, plan: RunPlan) -> None:
    """Take persons that are none any more, because they merged or were erased, out of the online store.

    A run writes the vector of every person there is, so what is older than the run belongs to nobody. Said anew by
    every run, so a run that died before this point leaves nothing behind. For the same reason a store that held the
    features before the configuration named another is of no use any more.
    """
    from features.online_address import OnlinePlace, note_place, open_online
    from features.online_writer import PAUSES

    online = open_online(plan.online, pauses=PAUSES)
    try:
        online.retire_before(plan.revision)
    finally:
        online.close()
    for address in plan.online_left:
        before = open_online(address)
        try:
            before.clear()
        finally:
            before.close()
    if plan.online_left:
        note_place(folder.feast, OnlinePlace(plan.online))


def _shorten(plan: RunPlan) -> None:
    """Bound the ledger of crowded identifiers in the identity store, as a stream's housekeeping does.

    The tables keep every link. A run writes all links of its persons anew and shortens again, so a run that died before
    this point leaves it to the next.
    """
    from transforms.stores.identity import open_identity

    identity = open_identity(plan.stores, plan.identity, plan.strand_shards)
    try:
        identity.compact()
    finally:
        identity.close()


def _note_activated(plan: RunPlan) -> None:
    """Say by which activations all was folded, so that a stream that takes over knows what to fold again."""
    from transforms.journey.stage_stream import FOLDED_BY
    from transforms.stores.progress import open_progress

    progress = open_progress(plan.stores)
    try:
        for name, number in zip(FOLDED_BY, plan.journey.activated, strict=True):
            progress.note(name, number)
    finally:
        progress.close()


@contextmanager
def _watched(folder: OutputFolder, strands: int, journeys: int, tell: Observe) -> Any:
    """Tell how far a run is, by what lies in the staging folder: a runner says nothing until it has ended."""
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.3):
            folded = len({path.name.split("-")[0] for path in folder.staging.glob("journeys/*.parquet")})
            logged = len({path.name.split("-")[0] for path in folder.staging.glob("log/*.parquet")})
            if folded:
                tell("folding journeys", min(1.0, folded / journeys))
            elif logged:
                tell("assigning events to persons", min(1.0, logged / strands))
            else:
                tell("reading, validating and protecting events", None)

    thread = threading.Thread(target=look, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
