"""Where the online vectors of an output folder are: a file in it or a Redis server; and the note that says so.

Input: the folder ``OUT/feast``, and what the configuration names. Output: an ``OnlineAddress``, which travels to
workers and holds no secret, and through ``open_online`` the table itself. State: ``OUT/feast/online.json``, written by
a run or stream that knows of more than the file; whoever only reads OUT finds the vectors by it, without the
configuration. Errors: ``OutputError`` for a note that cannot be read or written. No client of a server is imported here
but by ``open_online``.

A Redis server may serve several output folders: every key begins with a prefix that is drawn once for each and noted.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from contracts.errors import ConfigurationError, OutputError
from features import names
from features.online_table import ONLINE_FILE, OnlineRow, OnlineTable
from transforms.secret import SecretReference
from transforms.stores.database import DEFAULT_TIMEOUT
from transforms.tables.output import write_durably

NOTE = "online.json"
"""The note, below ``OUT/feast``."""


class Vectors(Protocol):
    """A table of online vectors, whichever it is: ``OnlineTable`` or ``RedisOnlineTable``."""

    def write(self, names: Sequence[str], rows: Sequence[tuple[str, int, int, Sequence[float]]]) -> None:
        """Write vectors; a row whose revision is older than the stored one changes nothing."""
        ...

    def retire(self, entities: Sequence[str]) -> None:
        """Remove vectors; only a greater revision brings an entity back."""
        ...

    def retire_before(self, revision: int) -> None:
        """Remove every vector of a smaller revision."""
        ...

    def read(self, entities: Sequence[str]) -> list[OnlineRow | None]:
        """The row of each entity, None where there is none."""
        ...

    def create(self) -> None:
        """Make or reach the store now."""
        ...

    def clear(self) -> None:
        """Remove every row of the view."""
        ...

    def close(self) -> None:
        """Give up the connections."""
        ...


@dataclass(frozen=True, slots=True)
class OnlineAddress:
    """A SQLite file, or the place where the URL of a Redis server is found and the prefix of our keys in it."""

    path: Path | None = None
    redis: SecretReference | None = None
    prefix: str = ""

    def __post_init__(self) -> None:
        if (self.path is None) == (self.redis is None) or (self.redis is None) == bool(self.prefix):
            raise ValueError("online vectors are in a file, or in a Redis server under a prefix")


@dataclass(frozen=True, slots=True)
class OnlinePlace:
    """Where the vectors of an output folder are written.

    ``left``: where they were before the configuration changed. They stay there until a bounded run has written all of
    them to ``address``, and are removed then.
    """

    address: OnlineAddress
    left: tuple[OnlineAddress, ...] = ()


def open_online(
    address: OnlineAddress,
    view: str = names.ROWS,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    pauses: Sequence[float] = (),
) -> Vectors:
    """The table at an address; it connects when it is first used.

    Args:
        view: name of the rows.
        timeout: seconds to wait for another process's transaction, or for a server.
        pauses: seconds between the attempts of a write while a server is away.

    Raises:
        ConfigurationError: the URL is not where the address says, or is none.
    """
    if address.redis is None:
        assert address.path is not None
        return OnlineTable(address.path, view, timeout)
    # imported here: without a server no process has to load the client
    from features.redis_table import RedisOnlineTable

    where = address.redis.where
    try:
        url = address.redis.read().decode()
    except UnicodeDecodeError:
        raise ConfigurationError(where, None, "holds no text") from None
    return RedisOnlineTable(url, view, address.prefix, timeout, pauses, where=where)


def address_of(folder: Path) -> OnlineAddress:
    """Where the vectors of an output folder are, by its note; without one in the file.

    Args:
        folder: ``OUT/feast``.

    Raises:
        OutputError: the note cannot be read.
    """
    noted = _read(folder)
    return _file(folder) if noted is None else noted.address


def place_for(folder: Path, redis: SecretReference | None) -> OnlinePlace:
    """Where a run is to write under a configuration; changes nothing.

    Args:
        folder: ``OUT/feast``, held for writing.
        redis: where the configuration says that the URL of a server is; None: the file.

    Raises:
        OutputError: the note cannot be read.
    """
    noted, file = _read(folder), _file(folder)
    if noted is None:
        before = [file] if file.path is not None and file.path.is_file() else []
        prefix = ""
    else:
        before = [*noted.left, noted.address]
        prefix = next((one.prefix for one in before if one.prefix), "")
    if redis is None:
        wanted = file
    else:
        wanted = OnlineAddress(redis=redis, prefix=prefix or f"{names.PROJECT}:{secrets.token_hex(8)}")
    return OnlinePlace(wanted, tuple(one for one in dict.fromkeys(before) if one != wanted))


def note_place(folder: Path, place: OnlinePlace) -> None:
    """Write the note; none where there never was anything but the file. Raises OutputError."""
    target = folder / NOTE
    if place == OnlinePlace(_file(folder)) and not target.is_file():
        return
    written = {**_as_json(place.address), "left": [_as_json(one) for one in place.left]}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_durably(target, json.dumps(written))
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror}") from error


def _file(folder: Path) -> OnlineAddress:
    return OnlineAddress(path=(folder / ONLINE_FILE).resolve())


def _read(folder: Path) -> OnlinePlace | None:
    target = folder / NOTE
    try:
        text = target.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"{target} cannot be read: {error.strerror}") from error
    try:
        found = json.loads(text)
        return OnlinePlace(_from_json(folder, found), tuple(_from_json(folder, one) for one in found["left"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError(
            f"{target} is no note of an online store",
            hint="remove it: the next `wayline run` writes all online features anew",
        ) from error


def _as_json(address: OnlineAddress) -> dict[str, Any]:
    """Without the path of the file, so that OUT may be moved."""
    if address.redis is None:
        return {}
    place = {key: value for key, value in (("env", address.redis.env), ("file", address.redis.path)) if value}
    return {"redis": place, "prefix": address.prefix}


def _from_json(folder: Path, found: dict[str, Any]) -> OnlineAddress:
    place = found.get("redis")
    if place is None:
        return _file(folder)
    return OnlineAddress(redis=SecretReference(place.get("env"), place.get("file")), prefix=found["prefix"])
