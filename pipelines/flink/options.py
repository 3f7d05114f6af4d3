"""What a job on Flink runs with: settings, checked, to Beam's options."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from contracts.errors import EngineError, UsageError
from pipelines.beam_options import ParsedOptions
from pipelines.flink.job_server import checkpoint_uri

_MASTER = re.compile(r"^(https?://)?[A-Za-z0-9.\-]+:\d{1,5}$")
_CHECKPOINT = re.compile(r"^(chk|savepoint)-")


class JobServerOptions(PipelineOptions):  # type: ignore[misc]
    """Options that the job server knows and Beam's Python does not."""

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        for name in (
            "checkpointing_interval",
            "checkpoint_timeout_millis",
            "execution_retry_delay",
            "max_bundle_size",
            "max_bundle_time_mills",
            "number_of_execution_retries",
            "shutdown_sources_after_idle_ms",
        ):
            parser.add_argument(f"--{name}", type=int)
        for name in ("savepoint_path", "state_backend", "state_backend_storage_path"):
            parser.add_argument(f"--{name}")
        for name in (
            "externalized_checkpoints_enabled",
            "retain_externalized_checkpoints_on_cancellation",
            "faster_copy",
            "finish_bundle_before_checkpointing",
            "object_reuse",
        ):
            parser.add_argument(f"--{name}", action="store_true", default=None)


_CHECKPOINTS_AT_THE_END = 4
"""Intervals of checkpoints for which a source that ends by itself has to be silent: one that is slow takes some."""


@dataclass(frozen=True)
class FlinkSettings:
    """How a job runs.

    Args:
        parallelism: how many workers take shards.
        checkpoints: folder of checkpoints, to restart the job from; None keeps them in the server's memory, which is
            enough for a worker that dies.
        checkpoint_ms: time between two of them; what is put out to the world after one is put out again on a restart.
        bundle_elements: a bundle of so many elements is closed,
        bundle_ms: and one of this age: the latency that batching costs at most, a stage.
        restarts: how often a job that failed is restarted before it has failed for good, however long that takes; None:
            as Flink is configured, which for the server of ``job_server`` is so often within some minutes.
        finite: the source ends by itself, and the job with it.
        worker_process: run workers in processes of their own, one for all transforms of the same resource hints, not in
            threads of ours.
        restore: a checkpoint or savepoint to begin with, on a cluster; on ``[local]`` the job server is told instead.
        environment: Beam's environment type of workers; ``LOOPBACK`` for workers on this machine.
        environment_config: and its configuration.
    """

    parallelism: int = 1
    checkpoints: Path | None = None
    checkpoint_ms: int = 1_000
    bundle_elements: int = 1_000
    bundle_ms: int = 100
    restarts: int | None = None
    finite: bool = False
    worker_process: bool = True
    restore: Path | None = None
    environment: str = "LOOPBACK"
    environment_config: str = ""


def check_master(master: str) -> str:
    """A cluster's address, as the job server takes it. Raises UsageError when it is none."""
    if not _MASTER.match(master):
        raise UsageError(f"{master!r} is no address of a Flink cluster", hint="write it as host:port, as in flink:8081")
    return master.removeprefix("http://").removeprefix("https://")


def check_folder(folder: Path) -> Path:
    """A folder of checkpoints, made if need be, as an absolute path.

    Raises:
        EngineError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise EngineError(
            f"the checkpoint folder {folder} cannot be written: {error.strerror}",
            hint="mend its permissions or name another one: without checkpoints a job that dies starts anew",
        ) from error
    return folder.resolve()


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint below a folder; None when there is none. One without metadata was never finished."""
    found: list[tuple[int, Path]] = []
    # the engine removes old ones meanwhile; a folder that is gone is passed over
    for place, _, files in os.walk(folder):
        path = Path(place)
        if "_metadata" in files and _CHECKPOINT.match(path.name):
            with suppress(FileNotFoundError):
                found.append(((path / "_metadata").stat().st_mtime_ns, path))
    # names count up within a job, not over several
    return max(found, default=(0, None))[1]


def flink_options(endpoint: str, settings: FlinkSettings, given: Sequence[str] = ()) -> PipelineOptions:
    """Beam's options for a streaming job.

    Args:
        endpoint: address of the job service.
        given: further options as the user wrote them; they win.

    Raises:
        EngineError: the checkpoint folder cannot be written, or there is no checkpoint to restore.
    """
    flags = [
        "--runner=PortableRunner",
        f"--job_endpoint={endpoint}",
        "--streaming",
        "--no_save_main_session",
        f"--environment_type={settings.environment}",
        f"--parallelism={settings.parallelism}",
        f"--checkpointing_interval={settings.checkpoint_ms}",
        f"--max_bundle_size={settings.bundle_elements}",
        f"--max_bundle_time_mills={settings.bundle_ms}",
        # without it what a bundle puts out while a checkpoint is made is kept back, and watermarks overtake it: what is
        # stated at the end of time then comes after the windows have closed, and is dropped
        "--finish_bundle_before_checkpointing",
    ]
    if settings.restarts is not None:
        flags += [f"--number_of_execution_retries={settings.restarts}", "--execution_retry_delay=1000"]
    if settings.environment_config:
        flags.append(f"--environment_config={settings.environment_config}")
    if settings.environment == "LOOPBACK" and settings.worker_process:
        flags.append("--experiments=use_loopback_process_worker")
    if settings.finite:
        # a checkpoint has to come between the last bundle and the end, or nobody hears that the bundle was kept
        flags.append(f"--shutdown_sources_after_idle_ms={_CHECKPOINTS_AT_THE_END * settings.checkpoint_ms}")
    if settings.checkpoints is not None:
        folder = check_folder(settings.checkpoints)
        flags += [
            "--state_backend=filesystem",
            f"--state_backend_storage_path={folder.as_uri()}",
            "--externalized_checkpoints_enabled",
            "--retain_externalized_checkpoints_on_cancellation",
        ]
    if settings.restore is not None:
        flags.append(f"--savepoint_path={checkpoint_uri(settings.restore)}")
    return ParsedOptions([*flags, *given])
