"""What the machine has and lacks for what is wanted: the checks of ``wayline doctor``.

Input: a configuration, what is wanted, and a clock. Output: ``Check``s in order; each says what was found and, where
something is missing, how to mend it. Nothing is changed: a file that tries whether OUT can be written is removed again,
and servers are only asked for the time. Errors: none; what a check meets is its answer. State: none.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

from contracts.errors import OutputError, ServiceError, WaylineError
from contracts.event import SECOND
from pipelines.config import ProjectConfig
from transforms.secret import SecretReference

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "locks" / "runtime.txt"
OK, MISSING, OPTIONAL = "ok", "missing", "optional"
ENOUGH_BYTES = 2 * 1024**3
"""Room that a run over some hundred thousand events takes, and some to spare."""
CLOCK_TOLERANCE = 5 * SECOND
_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Check:
    """``status`` is ok, missing, or optional: missing, but not needed for what is wanted."""

    name: str
    status: str
    said: str
    mend: str = ""


@dataclass(frozen=True)
class Wanted:
    """What is to be checked: the project's configuration, an output folder, and whether streams are wanted, with what
    they read and feed."""

    project: Path | None = None
    out: Path | None = None
    stream: bool = False
    subscriptions: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()


def examine(config: ProjectConfig, wanted: Wanted, clock: Callable[[], int]) -> Iterator[Check]:
    """All checks; ``clock`` gives UTC microseconds."""
    yield Check("project", OK, str(wanted.project or "none: the shipped defaults serve"))
    yield _python()
    yield from _packages(LOCK)
    yield from _engine(wanted)
    yield from _disk(wanted.out)
    if wanted.out is not None:
        yield _attempt("output folder", partial(_output, wanted.out, clock))
    yield from _secrets(config)
    yield from _servers(config, clock)
    yield from _pubsub(wanted)


def _attempt(name: str, work: Callable[[], str], *, needed: bool = True) -> Check:
    """A check that says what ``work`` returns, or what it fails with."""
    try:
        return Check(name, OK, work())
    except WaylineError as error:
        return Check(name, MISSING if needed else OPTIONAL, error.message, error.hint)


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Check("Python", OK, version)
    return Check("Python", MISSING, f"{version}; Wayline runs on 3.11, 3.12 and 3.13", "make PYTHON=python3.12 …")


def _packages(lock: Path) -> Iterator[Check]:
    """The packages against the lock file of the tree; where there is none, whether those declared are installed."""
    from packaging.requirements import InvalidRequirement, Requirement

    pinned = lock.is_file()
    lines = re.findall(r"^(\w[^\\\n]*)", lock.read_text(encoding="utf-8"), re.MULTILINE) if pinned else []
    try:
        asked = [Requirement(line.strip()) for line in lines or metadata.requires("wayline") or []]
    except InvalidRequirement as error:
        yield Check("packages", MISSING, f"{lock} cannot be read: {error}", "take it anew from the release")
        return
    wrong = []
    needed = [one for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})]
    for one in needed:
        try:
            found = metadata.version(one.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{one.name} is not installed")
            continue
        if not one.specifier.contains(found, prereleases=True):
            wrong.append(f"{one.name} is {found}, not {one.specifier}")
    against = "as locked" if pinned else "as declared"
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        yield Check("packages", MISSING, ", ".join(wrong[:3]) + more, "make .venv/.runtime, or install from the locks")
    else:
        yield Check("packages", OK, f"{len(needed)} {against}")


def _engine(wanted: Wanted) -> Iterator[Check]:
    """Java and the job server of embedded Flink, and the Pub/Sub server of trials, which only streams need."""
    from pipelines.flink.java import find_java
    from pipelines.flink.job_server import JobServerSettings, class_path
    from sources.pubsub.emulator import need_server

    def java() -> str:
        found = find_java()
        return f"{found.path}, version {found.version}"

    def jars() -> str:
        class_path(JobServerSettings(Path()))
        return "the job server's class path is there"

    yield _attempt("Java", java, needed=wanted.stream)
    yield _attempt("Flink", jars, needed=wanted.stream)
    yield _attempt("Pub/Sub server for trials", lambda: str(need_server()), needed=False)


def _disk(out: Path | None) -> Iterator[Check]:
    """Room where output and temporary files go."""
    for name, folder in (("disk space", _existing_parent(out or Path.cwd())), ("temporary files", _temporary())):
        free = shutil.disk_usage(folder).free
        said = f"{free / 1024**3:,.1f} GiB free at {folder}"
        if free >= ENOUGH_BYTES:
            yield Check(name, OK, said)
        else:
            hint = (
                "make room, or name an output folder elsewhere" if name == "disk space" else "make room, or set TMPDIR"
            )
            yield Check(name, MISSING, f"{said}; {ENOUGH_BYTES / 1024**3:.0f} GiB are wanted", hint)


def _temporary() -> Path:
    return Path(tempfile.gettempdir())


def _existing_parent(path: Path) -> Path:
    return next(one for one in (path.absolute(), *path.absolute().parents) if one.is_dir())


def _output(out: Path, clock: Callable[[], int]) -> str:
    """Whether OUT can be written and continued, and whether its disk keeps our time."""
    from transforms.tables.output import OutputFolder, check_readable

    begun = OutputFolder(out).format_file.is_file()
    if begun:
        check_readable(out)
    folder = _existing_parent(out)
    try:
        before = clock()
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".wayline-doctor-") as file:
            file.write(b"x")
            file.flush()
            stamped = os.fstat(file.fileno()).st_mtime_ns // 1_000
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written: {error.strerror}", hint="name another folder, or let this user write there"
        ) from error
    _same_time(f"the disk of {folder}", stamped, before)
    return f"{out} can be {'continued' if begun else 'made'}"


def _same_time(whose: str, theirs: int, ours: int) -> str:
    """How far two clocks are apart. Raises ServiceError when that is more than a few seconds."""
    apart = (theirs - ours) / SECOND
    if abs(theirs - ours) > CLOCK_TOLERANCE:
        direction = "ahead of" if apart > 0 else "behind"
        raise ServiceError(
            f"the clock of {whose} is {abs(apart):,.0f} s {direction} this machine's",
            hint="let both follow a time server (NTP)",
        )
    return f"{abs(apart):.1f} s apart"


def _secrets(config: ProjectConfig) -> Iterator[Check]:
    """The secrets that the channels of the configuration name."""
    for name, channel in (*config.channels.named.items(), ("default", config.channels.default)):
        secret = None if channel is None else channel.secret
        if secret is not None:
            yield _attempt(f"secret of channel {name}", partial(_found, secret))


def _found(secret: SecretReference) -> str:
    secret.read()
    return secret.where


def _servers(config: ProjectConfig, clock: Callable[[], int]) -> Iterator[Check]:
    """The servers that the configuration names: they answer, and keep the same time."""

    def asked(what: str, ask: Callable[[], int]) -> Check:
        return _attempt(what, lambda: f"answers; its clock is {_same_time(what, ask(), clock())}")

    if config.store is not None and (store := config.store.postgres) is not None:
        from transforms.stores.reach import postgres_clock

        yield asked("PostgreSQL of the stores", lambda: postgres_clock(store, _PATIENCE))
    if (redis := config.online_redis) is not None:
        from features.redis_table import redis_clock

        yield asked("Redis of the online features", lambda: redis_clock(redis, _PATIENCE))


def _pubsub(wanted: Wanted) -> Iterator[Check]:
    """The subscriptions and topics that were named, at the service or at the emulator of the environment."""
    if not wanted.subscriptions and not wanted.topics:
        return
    from sources.pubsub.client import check_subscription, check_topic, emulator_endpoint

    endpoint = emulator_endpoint()

    def asked(check: Callable[[str, str | None], object], name: str) -> str:
        check(name, endpoint)
        return f"answers at {endpoint}" if endpoint else "answers"

    for name in wanted.subscriptions:
        yield _attempt(name, partial(asked, check_subscription, name))
    for name in wanted.topics:
        yield _attempt(name, partial(asked, check_topic, name))
