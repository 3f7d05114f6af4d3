"""The runner: which one is meant, with which options, and what its failures mean.

``DirectRunner`` is a switch between several runners; for bounded input it means ``FnApiRunner``, so that one is named.
Raises ``UsageError`` for a runner or an option that does not exist, before anything is built.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from contracts import errors
from contracts.errors import OutputError, UsageError, WaylineError

LOCAL = ("DirectRunner", "FnApiRunner")
_RUN_OPTIONS = ("input", "out", "as-of", "actions", "config", "registry", "session-by", "workers", "runner")
_OURS = re.compile(r"contracts\.errors\.(\w+): (.*?)(?: \[while running [^\]]*\])?$", re.MULTILINE)
_DISK = re.compile(r"^OSError: (\[Errno \d+\] .*?)(?: \[while running [^\]]*\])?$", re.MULTILINE)


def engine_options(runner: str, workers: int, given: Sequence[str]) -> Any:
    """Beam's options for a run.

    Args:
        workers: processes of the local runner.
        given: further options as the user wrote them, ``--name=value``.

    Raises:
        UsageError: Beam knows no such runner or option.
    """
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.runner import create_runner

    from pipelines.beam_options import ParsedOptions

    known = set(PipelineOptions([]).get_all_options())
    for option in given:
        name = option.removeprefix("--").split("=", 1)[0]
        if name not in known and name.removeprefix("no_") not in known:
            near = difflib.get_close_matches(name, [*_RUN_OPTIONS, *known], n=1)
            raise UsageError(
                f"--{name} is an option neither of `wayline run` nor of Beam",
                hint=f"did you mean --{near[0]}?" if near else "see wayline run --help",
            )
    flags = list(given)
    if runner in LOCAL:
        runner = "FnApiRunner"
        flags += ["--direct_running_mode=in_memory", f"--direct_num_workers={workers}"]
    try:
        create_runner(runner)
    except (ValueError, ImportError, AttributeError) as error:
        raise UsageError(f"there is no Beam runner named {runner!r}", hint="try DirectRunner") from error
    return ParsedOptions([f"--runner={runner}", "--no_save_main_session", *flags])


def execute(build: Callable[[Any], None], options: Any, worker: str | None = None) -> Any:
    """Build and run a pipeline to its end; returns the runner's result.

    Args:
        worker: as of ``local_runner``.

    Raises:
        WaylineError: what a worker raised, also when it ran in another process.
        OutputError: a worker could not write.
    """
    import apache_beam as beam

    from transforms.worker_process import sample_often

    sample_often()  # with one worker this process is it
    pipeline = beam.Pipeline(runner=local_runner(options, worker), options=options)
    build(pipeline)
    try:
        result = pipeline.run()
        result.wait_until_finish()
    except WaylineError:
        raise
    except OSError as error:
        raise OutputError(f"a worker could not write: {error}") from error
    except RuntimeError as error:
        found = cause(error)
        if found is None:
            raise
        raise found from error
    return result


@contextmanager
def early_workers(runner: str, workers: int, *, model: bool) -> Iterator[str | None]:
    """Load what the workers of a run need while the run is planned; gives the command that starts one.

    None where there is nothing to gain: for one worker, which is this process, and where workers cannot be forked.
    """
    from pipelines.forked_workers import can_fork, loaded_workers

    if runner not in LOCAL or workers <= 1 or not can_fork():
        yield None
        return
    with loaded_workers(model=model, quiet=_is_quiet()) as command:
        yield command


def _is_quiet() -> bool:
    """Whether workers print nothing: what a worker logs reaches us otherwise."""
    return os.environ.get("WAYLINE_LOG", "ERROR").upper() == "ERROR"


def local_runner(options: Any, worker: str | None = None) -> Any:
    """The runner to use: for several local workers one that starts them by our command; None lets Beam choose.

    Args:
        options: of ``engine_options``.
        worker: the command that starts a worker (``early_workers``); None is one that loads all by itself.

    Beam's own mode ``multi_processing`` starts the same workers, but breaks when the path of Python holds a space, and
    lets each print the traceback of an error that comes back, and is reported, anyway.
    """
    from apache_beam.options.pipeline_options import DirectOptions, StandardOptions

    if options.view_as(StandardOptions).runner not in LOCAL or options.view_as(DirectOptions).direct_num_workers <= 1:
        return None
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from apache_beam.transforms.environments import SubprocessSDKEnvironment

    command = worker or f"{shlex.quote(sys.executable)} -m apache_beam.runners.worker.sdk_worker_main"
    if _is_quiet():
        command += f" 2>{os.devnull}"
    return FnApiRunner(default_environment=SubprocessSDKEnvironment.from_command_string(command_string=command))


def cause(error: BaseException) -> WaylineError | None:
    """The error of ours behind what a runner raised.

    In one process it is in the chain of causes; from another process only the text of its traceback comes back.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, WaylineError):
            return seen
        seen = seen.__cause__ or seen.__context__
    text = str(error)
    if named := _OURS.findall(text):
        name, message = named[-1]
        kind = getattr(errors, name, WaylineError)
        found: WaylineError = kind.__new__(kind)
        WaylineError.__init__(found, message, hint=kind.standing_hint)
        return found
    if disk := _DISK.findall(text):
        return OutputError(f"a worker could not write: {disk[-1]}")
    return None
