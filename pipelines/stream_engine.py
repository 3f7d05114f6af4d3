"""The engine of a stream: Flink by name, or whatever Beam runner was named; opened, given the graph, closed.

Errors: ``EngineError`` and ``UsageError``, before anything is read, for what cannot work.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipelines.engine import engine_options
from pipelines.stream_plan import FLINK, StreamOptions
from pipelines.table_sink import DIRECT
from transforms.tables.output import OutputFolder

Build = Callable[[Any], None]

CHECKPOINTS, ENGINE = "checkpoints", "engine"
"""Folders in OUT: Flink's checkpoints, and what its job server writes (log, configuration, staged files)."""


class Job(Protocol):
    """A pipeline that runs."""

    def wait(self, finished: Path) -> None:
        """Until it ends, or until there is this file, which ends it. Raises what it failed of."""

    def cancel(self) -> None:
        """End it without waiting for what it holds."""


class Engine(Protocol):
    """What takes a graph."""

    def submit(self, build: Build) -> Job:
        """Build the graph and start it."""


@contextmanager
def open_engine(options: StreamOptions, folder: OutputFolder) -> Iterator[Engine]:
    """The engine that was asked for; closed with all it started when the context ends.

    Raises:
        EngineError: no Java, no job server, a port that is taken, checkpoints that cannot be written or are not there.
        UsageError: no such runner or option.
    """
    if options.runner != FLINK:
        yield BeamEngine(options)
        return
    from pipelines.flink.job import submit
    from pipelines.flink.job_server import LOCAL, JobServer, JobServerSettings
    from pipelines.flink.options import FlinkSettings, check_folder, check_master, flink_options, latest_checkpoint

    checkpoints = check_folder(options.checkpoints or folder.root / CHECKPOINTS)
    restore = _last_of(checkpoints, latest_checkpoint(checkpoints)) if options.resume else None
    is_local = options.flink_master is None
    settings = FlinkSettings(
        parallelism=options.parallelism,
        checkpoints=checkpoints,
        checkpoint_ms=round(options.checkpoint_every * 1_000),
        restore=None if is_local else restore,
    )
    work = folder.root / ENGINE
    work.mkdir(exist_ok=True)
    master = LOCAL if options.flink_master is None else check_master(options.flink_master)
    with JobServer(JobServerSettings(work.resolve(), master, restore=restore if is_local else None)) as server:

        @dataclass(frozen=True)
        class Flink:
            def submit(self, build: Build) -> Job:
                return submit(build, flink_options(server.endpoint, settings, options.beam), server)

        yield Flink()


def _last_of(folder: Any, found: Any) -> Any:
    from contracts.errors import EngineError

    if found is None:
        raise EngineError(
            f"{folder} holds no checkpoint to go on from",
            hint="start without --resume: the stream takes over from the event log of OUT",
        )
    return found


class BeamEngine:
    """A runner that Beam knows by name.

    On the direct runner it says what that means: it is for trying.
    """

    def __init__(self, options: StreamOptions) -> None:
        self._options = options

    def submit(self, build: Build) -> Job:
        """Build the graph and start it."""
        import apache_beam as beam

        if self._options.runner == DIRECT:
            from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner

            from pipelines.beam_options import ParsedOptions

            print(
                "DirectRunner is for trying only: it is slow, and acknowledges messages before they are processed; "
                "use --runner flink",
                file=sys.stderr,
            )
            options = ParsedOptions(["--streaming", "--no_save_main_session", *self._options.beam])
            pipeline = beam.Pipeline(runner=BundleBasedDirectRunner(), options=options)
        else:
            pipeline = beam.Pipeline(
                options=engine_options(self._options.runner, 1, ("--streaming", *self._options.beam))
            )
        build(pipeline)
        return _BeamJob(pipeline.run())


class _BeamJob:
    def __init__(self, result: Any) -> None:
        self._result = result

    def wait(self, finished: Path) -> None:
        """Runners that end their jobs by themselves need no file."""
        self._result.wait_until_finish()

    def cancel(self) -> None:
        self._result.cancel()
