"""Running a stream: hold OUT, take over what was before, start the engine, keep house, drain. What ``wayline stream``
does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import LedgerError, WaylineError
from contracts.tables import RUN_LEDGER
from pipelines.clock import now
from pipelines.definitions import Definitions, load_definitions
from pipelines.engine import cause
from pipelines.housekeeping import Housekeeper
from pipelines.interruption import unhurried
from pipelines.memory import share_memory
from pipelines.registry_used import note_registry
from pipelines.stream_engine import Job, open_engine
from pipelines.stream_plan import StreamOptions, StreamPlan, drain_file, make_stream_plan, settled_shards, source_of
from pipelines.taking_over import take_over
from transforms.drain import take_down
from transforms.ledger import KINDS, LedgerRow, total
from transforms.tables.output import OutputFolder, writing
from transforms.tables.stream_folder import begin_stream, last_stream
from transforms.tables.views import answering, open_views

_log = logging.getLogger(__name__)
Observe = Callable[[str], None]
"""What is being done, told as it changes."""


@dataclass(frozen=True)
class StreamReport:
    """What a stream did until it ended.

    ``drained``: it was asked to end, and finished what it held; otherwise its source ended by itself.
    """

    run_id: str
    rows: tuple[LedgerRow, ...]
    total: LedgerRow
    taken_over: int
    drained: bool
    seconds: float


def stream(
    options: StreamOptions,
    observe: Observe | None = None,
    definitions: Definitions | None = None,
    warn: Observe | None = None,
) -> StreamReport:
    """Run a stream until its source ends, it is drained, or it fails.

    ``observe`` is told what is being done, ``warn`` what has to be known while it runs; by default it is logged.

    Raises:
        WaylineError: whatever stops it; what was committed stays, and the next stream goes on from there.
        LedgerError: the ledger does not balance at the end.
        KeyboardInterrupt: asked a second time to end, without waiting for what is held.
    """
    started = time.monotonic()
    share_memory()
    tell = observe or (lambda _what: None)
    tell("checking")
    definitions = definitions or load_definitions(options.config, options.session_by)
    with ExitStack() as held:
        folder = held.enter_context(writing(options.out))
        # before an engine is started, which takes seconds
        options = settled_shards(options, folder)
        source_of(options, "")
        engine = held.enter_context(open_engine(options, folder))
        number = last_stream(folder) + (0 if options.resume else 1)
        plan = make_stream_plan(options, definitions, folder, number, now())
        shards = 0 if options.by_person else options.shards
        begin_stream(folder, definitions.tables, resume=options.resume, shards=shards)
        note_registry(folder, Path(plan.run.registry))
        flag, finished = drain_file(folder, number), Path(plan.finished)
        take_down(flag)
        taken_over = 0
        if not options.resume:
            tell("taking over what was before")
            taken_over = take_over(folder, plan, now())
        with Housekeeper(folder, definitions, plan, warn or _log.error) as house:
            if options.resume and finished.exists():
                # its launcher died between that and the end: the tables are all that is left to do
                tell("it had drained already")
            else:
                tell("starting the engine")
                job = engine.submit(lambda pipeline: _build(pipeline, plan))
                tell("running")
                with unhurried():
                    _wait(job, finished, flag.touch, tell)
            tell("finishing the tables")
            house.finish()
        drained = flag.exists()
        rows = ledger_rows(folder, definitions, plan.run_id)
    report = StreamReport(plan.run_id, rows, total(rows), taken_over, drained, time.monotonic() - started)
    if report.total.missing:
        raise LedgerError(
            f"the ledger of {plan.run_id} does not balance: {report.total.missing} of {report.total.received} received "
            "units are in no other column",
            hint="this is a defect of Wayline; the run_ledger table has the counts by source",
        )
    return report


def _build(pipeline: Any, plan: StreamPlan) -> None:
    from pipelines.stream_graph import build

    build(pipeline, plan)


def _wait(job: Job, finished: Path, drain: Callable[[], None], tell: Observe) -> None:
    """Until the job ends. The first Ctrl-C drains it, the second cancels it."""
    asked = False
    while True:
        try:
            job.wait(finished)
            return
        except KeyboardInterrupt:
            if asked:
                job.cancel()
                raise
            asked = True
            drain()
            tell("draining: what is held is finished; Ctrl-C again ends at once")
        except RuntimeError as error:
            found = cause(error)
            if found is None:
                raise
            raise found from error
        except WaylineError:
            # it may have ended, and so may its engine: what is told is why
            with suppress(WaylineError):
                job.cancel()
            raise


def ledger_rows(folder: OutputFolder, definitions: Definitions, run_id: str) -> tuple[LedgerRow, ...]:
    """The rows that the stream stated of itself."""
    connection = open_views(folder.root, definitions.tables)
    columns = ", ".join(("source", *KINDS))
    try:
        with answering(folder.root):
            found = connection.execute(
                f"SELECT {columns} FROM {RUN_LEDGER.name} WHERE run_id = ? ORDER BY source", [run_id]
            ).fetchall()
    finally:
        connection.close()
    return tuple(LedgerRow(source, **dict(zip(KINDS, numbers, strict=True))) for source, *numbers in found)
