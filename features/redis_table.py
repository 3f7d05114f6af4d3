"""The online vectors in Redis: one hash a person, in which the newest revision wins. No Feast, no Beam.

The same rules as ``features.online_table``: whatever the order of writes, the greatest revision stays; a removed person
leaves a tombstone (its revision, no vector), so that a row written late does not bring it back. The comparison and the
write are one Lua script, which Redis runs whole, so they hold between processes. A batch is one pipeline.

Keys: ``{prefix}:{view}:{entity}``, a hash of ``r`` (revision), ``t`` (event time, UTC microseconds), ``n`` (names)
and ``v`` (vector, little-endian doubles). Revisions stay below 2^53 in the comparison of the script: they are
microseconds of a clock, or numbers of runs.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis

from contracts.errors import LockedError, OutputError
from features.online_table import OnlineRow

_BATCH = 500
_PUT = """
local held = redis.call('HMGET', KEYS[1], 'r', 'v')
local stored = tonumber(held[1])
local given = tonumber(ARGV[1])
if stored and (given < stored or (given == stored and not held[2])) then return 0 end
redis.call('HSET', KEYS[1], 'r', ARGV[1], 't', ARGV[2], 'n', ARGV[3], 'v', ARGV[4])
return 1
"""
_RETIRE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HDEL', KEYS[1], 't', 'n', 'v')
return 1
"""
_RETIRE_OLD = """
local stored = tonumber(redis.call('HGET', KEYS[1], 'r'))
if not stored or stored >= tonumber(ARGV[1]) then return 0 end
redis.call('HDEL', KEYS[1], 't', 'n', 'v')
return 1
"""


class RedisOnlineTable:
    """The vectors of one feature view in a Redis server; the same methods as ``OnlineTable``.

    Args:
        url: ``redis://[USER:PASSWORD@]HOST:PORT/DATABASE``; ``rediss://`` for TLS. It is put into no message.
        view: name of the rows.
        prefix: before every key, so that several output folders may share a server.
        timeout: seconds to wait for the server.
        pauses: seconds between the attempts of a write while the server is away; none: one attempt. A write that was
            done and not answered is done again, which changes nothing.

    Every method raises LockedError when the server cannot be reached, and OutputError when it refuses.
    """

    def __init__(
        self,
        url: str,
        view: str,
        prefix: str = "wayline",
        timeout: float = 30.0,
        pauses: Sequence[float] = (),
    ) -> None:
        self._pauses = tuple(pauses)
        self._client: Any = redis.Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout)
        self._base = f"{prefix}:{view}:"
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
        self._run(self._put, ((entity, (revision, at, stated, pack(*values))) for entity, revision, at, values in rows))

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
            with _errors():
                pipe = self._client.pipeline(transaction=False)
                for entity in entities[start : start + _BATCH]:
                    pipe.hmget(self._base + entity, "r", "t", "n", "v")
                found += [_row(fields) for fields in pipe.execute()]
        return found

    def create(self) -> None:
        """Reach the server now rather than at the first use."""
        with _errors():
            self._client.ping()

    def clear(self) -> None:
        """Remove every row of the view, tombstones too."""
        with _errors():
            for entity in self._entities():
                self._client.delete(self._base + entity)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _entities(self) -> Iterator[str]:
        with _errors():
            escaped = "".join(f"\\{letter}" if letter in "*?[]^\\" else letter for letter in self._base)
            for key in self._client.scan_iter(match=f"{escaped}*", count=1_000):
                yield key.decode()[len(self._base) :]

    def _run(self, script: Any, calls: Iterable[tuple[str, tuple[Any, ...]]]) -> None:
        """One script for many entities, a pipeline for every few hundred; it loads the script where it is missing."""
        held = list(calls)
        for start in range(0, len(held), _BATCH):
            self._attempt(script, held[start : start + _BATCH])

    def _attempt(self, script: Any, calls: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
        """One pipeline, again after each pause while the server is away; after the last, the error is the caller's."""
        for pause in (*self._pauses, None):
            try:
                with _errors():
                    pipe = self._client.pipeline(transaction=False)
                    for entity, values in calls:
                        script(keys=[self._base + entity], args=values, client=pipe)
                    pipe.execute()
                return
            except LockedError:
                if pause is None:
                    raise
                time.sleep(pause)


def _row(fields: list[bytes | None]) -> OnlineRow | None:
    revision, at, names, vector = fields
    if revision is None or at is None or names is None or vector is None:
        return None
    values = struct.unpack(f"<{len(vector) // 8}d", vector)
    return OnlineRow(int(revision), int(at), dict(zip(json.loads(names), values, strict=True)))


@contextmanager
def _errors() -> Iterator[None]:
    """What the client says, as an error that a user understands; without the address, which may hold a password."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as error:
        if isinstance(error, redis.AuthenticationError):
            raise OutputError("the Redis server refuses the password", hint="mend the URL") from None
        raise LockedError("the Redis server is not reachable", hint="start it, or mend its URL") from None
    except redis.RedisError as error:
        raise OutputError(f"the Redis server refuses: {error}") from None
