"""Every failure a user can meet, typed: it names the thing, says how to mend it, and has a documented exit code.

The command line turns a ``WaylineError`` into one message and its ``exit_code``; nothing else may end a
command. The table of codes in ``docs/exit_codes.md`` is checked against ``EXIT_CODES`` by a test.
"""

from __future__ import annotations

from pathlib import Path

INTERRUPTED = 130
"""What a shell says of a program that Ctrl-C ended."""

EXIT_CODES: dict[int, str] = {
    0: "success",
    1: "an unexpected failure: a defect of Wayline, reported with its traceback",
    2: "the command line itself is wrong",
    3: "a configuration file (project, ontology, identity, policy, mapping) is invalid",
    4: "the input cannot be read, or nothing in it is an event file",
    5: "the output cannot be written, or was written by another format version",
    6: "the model bundle or the registry is unusable, or a gate refused the model",
    7: "something needed is locked by another process, taken or out of reach: a folder, a store, a port, a service",
    8: "the run ledger does not balance",
    9: "a check failed: of schemas, output folders, an ontology, tables, a project or this machine; or a journey test",
    10: "the engine of a stream cannot be started, reached or kept running",
    11: "the state of a stream was written by a newer version, or its checkpoint is of another graph",
    INTERRUPTED: "interrupted",
}


class WaylineError(Exception):
    """Base of all errors shown to a user.

    Args:
        message: what is wrong, naming the thing.
        hint: how to mend it; shown on its own line.
    """

    exit_code = 1
    standing_hint = ""
    """What mends any error of this kind, where only its message came back from another process."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.hint))


def _rebuild(kind: type[WaylineError], message: str, hint: str) -> WaylineError:
    """Carry an error across a process boundary whatever its own constructor takes."""
    error = kind.__new__(kind)
    WaylineError.__init__(error, message, hint=hint)
    return error


class UsageError(WaylineError):
    """Options that do not fit together."""

    exit_code = 2


class ConfigurationError(WaylineError):
    """A configuration file is invalid.

    Args:
        path: the file.
        line: 1-based line of the fault, or None when the file as a whole is at fault.
    """

    exit_code = 3

    def __init__(self, path: Path | str, line: int | None, message: str, *, hint: str = "") -> None:
        where = f"{path}:{line}" if line else str(path)
        super().__init__(f"{where}: {message}", hint=hint)
        self.path = str(path)
        self.line = line


class UnsupportedMappingError(ConfigurationError):
    """A mapping asks for something that its language leaves out on purpose; the hint says what to do instead."""


class InputError(WaylineError):
    """The input cannot be read."""

    exit_code = 4


class OutputError(WaylineError):
    """The output cannot be written or continued."""

    exit_code = 5


class ModelError(WaylineError):
    """A bundle, the registry or a gate refuses."""

    exit_code = 6


class LockedError(WaylineError):
    """Another process holds what this one needs."""

    exit_code = 7


class ServiceError(WaylineError):
    """A service that is needed is not installed, not running, not reachable, or its port is taken."""

    exit_code = 7


class LedgerError(WaylineError):
    """The run ledger does not balance."""

    exit_code = 8


class CheckFailedError(WaylineError):
    """A check that was asked for found something."""

    exit_code = 9


class EngineError(WaylineError):
    """The engine that runs a stream: it, or what it needs, is missing, taken, unreachable or has failed."""

    exit_code = 10


class OtherGraphError(WaylineError):
    """A checkpoint does not fit the job: another release made it, or other options that shape the graph."""

    exit_code = 11
    standing_hint = (
        "resume with the release and the options that it was made with (--workers, --tables), or start "
        "without --resume: the stream then takes over from the log of OUT"
    )


class StateVersionError(WaylineError):
    """State that outlived the release which wrote it is newer than this one.

    Args:
        what: what was read.
        found: its version.
        known: the newest version that this code reads.
    """

    exit_code = 11
    standing_hint = "go on with the release that wrote it, or start without its checkpoint"

    def __init__(self, what: str, found: int, known: int) -> None:
        super().__init__(
            f"{what} has version {found}, and this release reads up to version {known}", hint=self.standing_hint
        )
        self.found = found
        self.known = known
