"""Keeping house beside a running stream: what belongs to OUT as a whole and to no element of the graph.

A thread of the launcher brings the tables of identity up to date from the identity store, takes back the rows of what
was decided and is erased, says how far the stream is (so that views know what is final) and which activations it cannot
follow, and merges small parts. All of it can be done again, by any later stream or by ``wayline tables``, so a launcher
that dies leaves nothing wrong. Time domain: the horizon is event time, the rest the wall clock.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from contracts.errors import WaylineError
from models.in_force import Registries
from pipelines.clock import now
from pipelines.definitions import Definitions
from pipelines.stream_plan import StreamPlan
from transforms.identity.live_memory import KEPT
from transforms.journey.live.keeping import Bounds
from transforms.journey.session_rule import SessionRule
from transforms.link_stream import GREATEST_EVENT_TIME
from transforms.purge import Shards, forget_copies, settle
from transforms.stores.identity import open_identity
from transforms.stores.progress import open_progress
from transforms.stores.records import open_records
from transforms.tables.compact import OLDER_THAN, Terms
from transforms.tables.compaction import compact
from transforms.tables.decided_notes import TakeBack
from transforms.tables.finality import Horizon, write_horizon
from transforms.tables.identity_sync import IdentitySync
from transforms.tables.output import OutputFolder

_log = logging.getLogger(__name__)
EVERY = 2.0
COMPACT_EVERY = 60.0
SHORTEN_EVERY = 900.0
"""Seconds: between two looks, two compactions of tables, and two of the ledger of crowded identifiers."""
SETTLED = max(Bounds().settled, KEPT) / 1_000_000
"""Seconds after which no engine goes back behind what was done."""


class Housekeeper:
    """A context manager; ``finish`` does everything once more, at the end of the stream.

    Args:
        folder: OUT, held for writing.
        definitions: of the project.
        plan: of the stream.
        warn: told what whoever runs the stream has to know, as it changes.
    """

    def __init__(
        self,
        folder: OutputFolder,
        definitions: Definitions,
        plan: StreamPlan,
        warn: Callable[[str], None] = _log.error,
    ) -> None:
        self._folder = folder
        self._tables = definitions.tables
        self._plan = plan
        self._lateness = definitions.config.lateness
        self._silence = silence_of(definitions.ontology.sessions)
        self._stop = threading.Event()
        self._warn = warn
        self._refusal = ""
        self._failure: Exception | None = None
        self._erased: float | None = None
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def __enter__(self) -> Housekeeper:
        run = self._plan.run
        self._progress = open_progress(run.stores)
        self._identity = open_identity(run.stores, run.identity, run.strand_shards)
        self._records = open_records(run.stores)
        self._sync = IdentitySync(self._folder, self._identity, self._plan.number, now)
        self._take_back = TakeBack(self._folder, self._plan.number, now)
        journey = run.journey
        self._in_force = Registries(Path(run.registry), journey.ontology, begun=journey.activated)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        self._records.close()
        self._identity.close()
        self._progress.close()

    def finish(self) -> None:
        """Bring everything to the end of the stream. Raises what is wrong then, or what ended the thread."""
        self._end()
        if self._failure is not None:
            raise self._failure
        self._look()
        # the job has ended, and nothing goes back any more
        self._forget_copies(math.inf)

    def _end(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            self._keep()
        except Exception as error:  # noqa: BLE001  # raised by ``finish``: a stream does not end for it
            self._failure = error

    def _keep(self) -> None:
        last, told = time.monotonic(), ""
        shortened = last
        while not self._stop.wait(EVERY):
            try:
                self._look()
                if time.monotonic() - last >= COMPACT_EVERY:
                    last = time.monotonic()
                    compact(self._folder, self._tables, Terms(time.time, whole=self._is_erasing()), wait=False)
                if time.monotonic() - shortened >= SHORTEN_EVERY:
                    shortened = time.monotonic()
                    self._identity.compact()
                told = ""
            except (WaylineError, OSError) as error:
                # a store that is away comes back, and a disk that is full is emptied; all of it is done again then
                if str(error) != told:
                    told = str(error)
                    self._warn(f"the tables of identity are not kept up to date for now: {told}")

    def _is_erasing(self) -> bool:
        """Whether something was erased so lately that parts which hold it may not have been old enough to merge."""
        return self._erased is not None and time.monotonic() - self._erased < 2 * OLDER_THAN

    def _forget_copies(self, before: float) -> None:
        shards = Shards(self._plan.run.strand_shards, self._plan.run.journey_shards)
        forget_copies(self._folder.purges, self._records, shards, before)

    def _look(self) -> None:
        if settle(self._folder.purges, self._identity, self._folder.stores, self._sync.run):
            self._erased = time.monotonic()
        self._take_back.run()
        self._forget_copies(time.time() - SETTLED)
        self._look_whether_all_is_followed()
        horizon = self._progress.value(GREATEST_EVENT_TIME)
        if horizon is not None:
            write_horizon(self._folder.horizon, Horizon(horizon, self._lateness, self._silence))

    def _look_whether_all_is_followed(self) -> None:
        """As the workers do, whose logs nobody may see."""
        self._in_force.known(at_once=True)
        refusal = self._in_force.refusal
        if refusal != self._refusal:
            self._refusal = refusal
            self._warn(f"an activation is not followed: {refusal}" if refusal else "all activations are followed again")


def silence_of(rule: SessionRule) -> int:
    """Microseconds without activity that end a session."""
    return rule.timeout if rule.by == "tracker" else rule.gap
