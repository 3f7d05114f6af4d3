"""The online vectors in Redis: one hash a person, in which the newest revision wins. No Feast, no Beam.

The same rules as ``features.online_table``: whatever the order of writes, the greatest revision stays; a removed person
leaves a tombstone (its revision, no vector), so that a row written late does not bring it back. The comparison and the
write are one Lua script, which Redis runs whole, so they hold between processes. A batch is one pipeline.

Keys: ``{prefix}:{view}:{entity}``, a hash of ``r`` (revision), ``t`` (event time, UTC microseconds), ``l`` (layout) and
``v`` (vector, little-endian doubles); ``{prefix}:{view}#layouts``, a hash of layout to the names of its places. It is
written with every batch, since a server may come back empty. Revisions stay below 2^53 in the comparison of the script:
they are microseconds of a clock, or numbers of runs.
"""

from __future__ import annotations

import hashlib
import json
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import redis

from contracts.errors import ConfigurationError, LockedError, OutputError
from features.online_table import OnlineRow
from transforms.secret import SecretReference

_BATCH = 500
_OPTIONS = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
_HINT = "write redis://USER:PASSWORD@HOST:PORT/NUMBER, rediss:// for TLS, with special characters as %40 and the like"
_PUT = """
local held = redis.call('HMGET', KEYS[1], 'r', 'v')
local stored = tonumber(held[1])
local given = tonumber(ARGV[1])
if stored and (given < stored or (given == stored and not held[2])) then return 0 end
redis.call('HSET', KEYS[1], 'r', ARGV[1], 't', ARGV[2], 'l', ARGV[3], 'v', ARGV[4])
return 1
"""
_RETIRE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HDEL', KEYS[1], 't', 'l', 'v')
return 1
"""
_RETIRE_OLD = """
local stored = tonumber(redis.call('HGET', KEYS[1], 'r'))
if not stored or stored >= tonumber(ARGV[1]) then return 0 end
redis.call('HDEL', KEYS[1], 't', 'l', 'v')
return 1
"""


class RedisOnlineTable:
    """The vectors of one feature view in a Redis server; the same methods as ``OnlineTable``.

    Args:
        url: ``redis://[USER:PASSWORD@]HOST:PORT/NUMBER``; ``rediss://`` for TLS. It is put into no message.
        view: name of the rows.
        prefix: before every key, so that several output folders may share a server.
        timeout: seconds to wait for the server.
        pauses: seconds between the attempts of a write while the server is away; none: one attempt. A write that was
            done and not answered is done again, which changes nothing.
        where: the place that the URL came from, for messages.

    Every method raises LockedError when the server cannot be reached, and OutputError when it refuses or is none.

    Raises:
        ConfigurationError: the URL is none of a Redis server.
    """

    def __init__(
        self,
        url: str,
        view: str,
        prefix: str = "wayline",
        timeout: float = 30.0,
        pauses: Sequence[float] = (),
        where: str = "the URL",
    ) -> None:
        _check(url, where)
        self._where = where
        self._pauses = tuple(pauses)
        self._client: Any = redis.Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout)
        self._base = f"{prefix}:{view}:"
        self._layouts = f"{prefix}:{view}#layouts"
        self._names: dict[bytes, list[str]] = {}
        self._put = self._client.register_script(_PUT)
        self._retire = self._client.register_script(_RETIRE)
        self._retire_old = self._client.register_script(_RETIRE_OLD)

    def write(self, names: Sequence[str], rows: Sequence[tuple[str, int, int, Sequence[float]]]) -> None:
        """Write vectors; a row whose revision is older than the stored one changes nothing.

        Args:
            names: feature of each place in the vectors.
            rows: (entity, revision, event time, vector).
        """
        pack = struct.Struct(f"<{len(names)}d").pack
        stated = json.dumps(list(names))
        layout = hashlib.blake2b(stated.encode(), digest_size=8).hexdigest()
        calls = ((entity, (revision, at, layout, pack(*values))) for entity, revision, at, values in rows)
        self._run(self._put, calls, (layout, stated))

    def retire(self, entities: Sequence[str]) -> None:
        """Remove vectors; only a greater revision brings an entity back. Unknown ones are ignored."""
        self._run(self._retire, ((entity, ()) for entity in entities))

    def retire_before(self, revision: int) -> None:
        """Remove every vector of a revision smaller than ``revision``."""
        self._run(self._retire_old, ((entity, (revision,)) for entity in self._entities()))

    def read(self, entities: Sequence[str]) -> list[OnlineRow | None]:
        """The row of each entity, None where there is none, in the order asked."""
        found: list[OnlineRow | None] = []
        for start in range(0, len(entities), _BATCH):
            with self._errors():
                pipe = self._client.pipeline(transaction=False)
                for entity in entities[start : start + _BATCH]:
                    pipe.hmget(self._base + entity, "r", "t", "l", "v")
                found += [self._row(fields) for fields in pipe.execute()]
        return found

    def clock(self) -> int:
        """The time by the server's clock, UTC microseconds. Writes nothing."""
        with self._errors():
            seconds, micros = self._client.time()
        return int(seconds) * 1_000_000 + int(micros)

    def create(self) -> None:
        """Reach the server now rather than at the first use, and write and remove a key of ours."""
        probe = f"{self._layouts}?"
        with self._errors():
            pipe = self._client.pipeline(transaction=False)
            pipe.hset(probe, "l", "")
            pipe.delete(probe)
            pipe.execute()

    def clear(self) -> None:
        """Remove every row of the view, tombstones too."""
        with self._errors():
            for entity in self._entities():
                self._client.delete(self._base + entity)
            self._client.delete(self._layouts)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _entities(self) -> Iterator[str]:
        with self._errors():
            escaped = "".join(f"\\{letter}" if letter in "*?[]^\\" else letter for letter in self._base)
            for key in self._client.scan_iter(match=f"{escaped}*", count=1_000):
                yield key.decode()[len(self._base) :]

    def _run(
        self, script: Any, calls: Iterable[tuple[str, tuple[Any, ...]]], layout: tuple[str, str] | None = None
    ) -> None:
        """One script for many entities, a pipeline for every few hundred; it loads the script where it is missing."""
        given = iter(calls)
        while part := list(islice(given, _BATCH)):
            self._attempt(script, part, layout)

    def _attempt(
        self, script: Any, calls: Sequence[tuple[str, tuple[Any, ...]]], layout: tuple[str, str] | None
    ) -> None:
        """One pipeline, again after each pause while the server is away; after the last, the error is the caller's."""
        for pause in (*self._pauses, None):
            try:
                with self._errors():
                    pipe = self._client.pipeline(transaction=False)
                    if layout is not None:
                        pipe.hset(self._layouts, *layout)
                    for entity, values in calls:
                        script(keys=[self._base + entity], args=values, client=pipe)
                    pipe.execute()
                return
            except LockedError:
                if pause is None:
                    raise
                time.sleep(pause)

    def _row(self, fields: list[bytes | None]) -> OnlineRow | None:
        revision, at, layout, vector = fields
        if revision is None or at is None or layout is None or vector is None:
            return None
        values = struct.unpack(f"<{len(vector) // 8}d", vector)
        return OnlineRow(int(revision), int(at), dict(zip(self._names_of(layout), values, strict=True)))

    def _names_of(self, layout: bytes) -> list[str]:
        """The names of a layout; the same layout always has the same ones."""
        found = self._names.get(layout)
        if found is None:
            stated = self._client.hget(self._layouts, layout)
            if stated is None:
                raise OutputError(
                    f"the Redis server ({self._where}) has lost a part of the online features",
                    hint="`wayline run --out OUT` writes them anew; let the server evict no keys",
                )
            found = self._names[layout] = json.loads(stated)
        return found

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """What the client says, as an error that a user understands; without the address, which may hold a password."""
        server = f"the Redis server ({self._where})"
        try:
            yield
        except redis.AuthenticationError:
            raise OutputError(f"{server} refuses user and password", hint="mend the URL") from None
        except (redis.ConnectionError, redis.TimeoutError):
            raise LockedError(f"{server} is not reachable", hint="start it, or mend its URL") from None
        except redis.InvalidResponse:
            raise OutputError(f"what answers at {self._where} is no Redis server", hint="mend the URL") from None
        except redis.RedisError as error:
            # of a pipeline the client also quotes the command, with all that it writes
            raise OutputError(f"{server} refuses: {str(error).rpartition('caused error: ')[2]}") from None


def _check(url: str, where: str) -> None:
    """Raise ConfigurationError for what the client would misread, or quote in its complaint."""
    try:
        parts = urlsplit(url)
        number = parts.path.removeprefix("/")
        sound = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and parts.port != 0
        sound = sound and (not number or (number.isascii() and number.isdecimal()))
        options = parse_qsl(parts.query, strict_parsing=True) if parts.query else []
    except ValueError:
        sound, options = False, []
    if not sound:
        raise ConfigurationError(where, None, "does not hold the URL of a Redis server", hint=_HINT)
    unknown = sorted({name for name, _ in options} - _OPTIONS)
    if unknown:
        raise ConfigurationError(
            where, None, "holds a URL with options that are not used here", hint=f"known: {', '.join(sorted(_OPTIONS))}"
        )


def redis_clock(reference: SecretReference, timeout: float) -> int:
    """The time by the clock of the server whose URL is found at ``reference``, UTC microseconds.

    Raises:
        ConfigurationError: the URL is not there, or is none of a Redis server.
        LockedError, OutputError: it does not answer, or refuses.
    """
    try:
        url = reference.read().decode()
    except UnicodeDecodeError:
        raise ConfigurationError(reference.where, None, "holds no text") from None
    return RedisOnlineTable(url, "doctor", timeout=timeout, where=reference.where).clock()
