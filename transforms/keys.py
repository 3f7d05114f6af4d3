"""The keys of a run: where they come from, and that they are fit for use. Keys never enter a table, a log or an option.

Pure but for the file system and the environment it is given. Input: a path, an environment variable, or both; output:
the key's bytes. Errors: ``ConfigurationError`` naming the place and the remedy.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from contracts.errors import ConfigurationError, OutputError

PSEUDONYM_KEY_VARIABLE = "WAYLINE_PSEUDONYM_KEY"
DEAD_LETTER_KEY_VARIABLE = "WAYLINE_DEAD_LETTER_KEY"

KEY_BYTES = 32
_MIN_BYTES = 16
_MAX_FILE_BYTES = 4096


def parse_key(text: str, origin: str) -> bytes:
    """A key from its hexadecimal text.

    Raises:
        ConfigurationError: it is no hexadecimal text of at least 16 bytes; the text itself is not repeated.
    """
    hint = "a key is 64 hexadecimal digits, as `openssl rand -hex 32` prints them"
    try:
        key = bytes.fromhex(text.strip())
    except ValueError as error:
        raise ConfigurationError(origin, None, "holds no hexadecimal key", hint=hint) from error
    if len(key) < _MIN_BYTES:
        raise ConfigurationError(origin, None, f"holds a key of {len(key)} bytes, too short", hint=hint)
    return key


def read_key_file(path: Path) -> bytes:
    """The key in a file of hexadecimal text. Raises ConfigurationError when it is missing, unreadable or no key."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES)
    except OSError as error:
        raise ConfigurationError(path, None, f"the key cannot be read: {error.strerror}") from error
    return parse_key(data.decode("ascii", "replace"), str(path))


def create_key_file(path: Path) -> bytes:
    """Make a random key in a new file that only its owner can read; the key of a file that already exists is read.

    Two processes that do this at once end with the same key: the file appears whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    key = secrets.token_bytes(KEY_BYTES)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(key.hex() + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)
        except FileExistsError:
            return read_key_file(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"the key {path} cannot be written: {error.strerror}") from error
    return key


def load_key(
    variable: str,
    *,
    given: Path | None = None,
    default: Path | None = None,
    create: bool = False,
    environment: Mapping[str, str] | None = None,
) -> bytes:
    """The key of one purpose: from the file given, else from the environment, else from the default file.

    Args:
        variable: name of the environment variable that may hold the key; ``VARIABLE_FILE`` may name a file that does.
        given: a file the user named; it must exist.
        default: where the key of this output folder lives, if it has one of its own.
        create: make ``default`` when no key is found anywhere.
        environment: the environment; that of the process by default.

    Raises:
        ConfigurationError: there is none, or it is unfit.
        OutputError: ``default`` cannot be made.
    """
    env = os.environ if environment is None else environment
    if given is not None:
        return read_key_file(given)
    if env.get(variable):
        return parse_key(env[variable], f"environment variable {variable}")
    if env.get(f"{variable}_FILE"):
        return read_key_file(Path(env[f"{variable}_FILE"]))
    if default is not None and default.exists():
        return read_key_file(default)
    if default is not None and create:
        return create_key_file(default)
    if default is not None:  # a folder that exists was made with some key, and a new one would fit nothing in it
        hint = f"restore {default}, or set {variable} to the key that the folder was made with"
        raise ConfigurationError(variable, None, f"no key is given, and there is no {default}", hint=hint)
    hint = f"set {variable} to 64 hexadecimal digits; `openssl rand -hex 32` makes one"
    raise ConfigurationError(variable, None, "no key is given", hint=hint)
