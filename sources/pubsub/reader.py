"""A subscription as Beam's ``UnboundedSource``: for portable runners such as Flink.

``PubSubSource`` splits into independent parts. A reader hands out ``Received``, each at min(event time, received time),
from the puller that its process has for the part (``sources.pubsub.puller`` says what is held and bounded).

Acknowledging: a checkpoint mark holds the ack ids handed out before it; ``finalize_checkpoint`` acknowledges them,
which the engine calls once the checkpoint is durable. Until then their deadlines are extended. What was handed out and
never finalised comes back by itself, so delivery is at least once; the strand stage drops what came twice.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Sequence
from typing import Any

import msgspec
from apache_beam.coders import Coder
from apache_beam.io.unbounded_source import CheckpointMark, UnboundedReader, UnboundedSource
from apache_beam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Timestamp

from contracts.coders import CODERS
from contracts.exchange import Received
from sources.pubsub import client, puller
from sources.pubsub.puller import Key, PubSubSettings, Pulled
from transforms.schema_registry import published

_PATIENCE = 0.1
"""Seconds that an empty bundle waits for a message: each bundle keeps its DoFns until the next checkpoint, so an idle
source should not make fifty a second. Once a bundle holds something it does not wait."""


_NO_CUT = -1


class PubSubMark(CheckpointMark):  # type: ignore[misc]  # Beam's base class is untyped
    """What was handed out since the mark before it, to be acknowledged; its number, and where the watermark stood."""

    def __init__(
        self,
        endpoint: str | None,
        subscription: str,
        key: Key,
        ack_ids: Sequence[str],
        cut: int,
        frontier: int | None,
    ) -> None:
        self.endpoint = endpoint
        self.subscription = subscription
        self.key = key
        self.ack_ids = tuple(ack_ids)
        self.cut = cut
        self.frontier = frontier

    def finalize_checkpoint(self) -> None:
        """Acknowledge what was handed out; again is harmless."""
        held_by = puller.find(self.key)
        if held_by is not None:
            held_by.let_go(self.ack_ids)
        client.acknowledge(self.endpoint, self.subscription, self.ack_ids)


class PubSubMarkCoder(Coder):  # type: ignore[misc]
    """MessagePack of a mark: the same bytes for the same mark, by which Beam finds a parked reader again."""

    def encode(self, value: PubSubMark) -> bytes:
        return msgspec.msgpack.encode(
            (value.endpoint, value.subscription, value.key, value.ack_ids, value.cut, value.frontier)
        )

    def decode(self, encoded: bytes) -> PubSubMark:
        return PubSubMark(
            *msgspec.msgpack.decode(
                encoded, type=tuple[str | None, str, tuple[str, int], tuple[str, ...], int, int | None]
            )
        )

    def is_deterministic(self) -> bool:
        return True


class PubSubSource(UnboundedSource):  # type: ignore[misc]
    """A subscription, or one of the parts that share it (``index``). ``token`` tells apart the sources of a process."""

    def __init__(self, settings: PubSubSettings, token: str, index: int | None = None) -> None:
        own = settings.registry is None or settings.registry == published()
        # the source travels with every checkpoint: what each worker has anyway stays out of it
        self._settings = dataclasses.replace(settings, registry=None) if own else settings
        self._token = token
        self._index = index

    def split(self, desired_num_splits: int, options: Any = None) -> list[PubSubSource]:
        if self._index is not None:
            return [self]
        number = max(1, min(desired_num_splits, self._settings.splits))
        return [PubSubSource(self._settings, self._token, index) for index in range(number)]

    def create_reader(self, options: Any, checkpoint_mark: PubSubMark | None) -> PubSubReader:
        return PubSubReader(self._settings, (self._token, self._index or 0), checkpoint_mark)

    def get_checkpoint_mark_coder(self) -> Coder:
        return PubSubMarkCoder()

    def default_output_coder(self) -> Coder:
        return CODERS[Received]()


_current_reader: weakref.WeakValueDictionary[Key, PubSubReader] = weakref.WeakValueDictionary()


class PubSubReader(UnboundedReader):  # type: ignore[misc]
    """Takes from its puller; of all readers of a part, the one made last."""

    def __init__(self, settings: PubSubSettings, key: Key, mark: PubSubMark | None) -> None:
        self._settings = settings
        self._key = key
        self._puller = puller.attach(key, settings, *((0, None) if mark is None else (mark.cut, mark.frontier)))
        self._taken: list[str] = []
        self._current: Pulled | None = None
        _current_reader[key] = self

    def start(self) -> bool:
        return self.advance()

    def advance(self) -> bool:
        taken = self._puller.take(0.0 if self._taken else _PATIENCE)
        if taken is None:
            return False
        self._current = taken
        self._taken.append(taken.ack_id)
        return True

    def get_current(self) -> Received:
        assert self._current is not None
        return self._current.received

    def get_current_timestamp(self) -> Timestamp:
        assert self._current is not None
        return Timestamp(micros=self._current.at)

    def get_watermark(self) -> Timestamp:
        if not self._taken and self._puller.is_drained():
            return MAX_TIMESTAMP
        at = self._puller.watermark()
        if at is None:
            # nothing came to this part yet: the others know how late it is
            at = puller.peers_watermark(self._key)
        return MIN_TIMESTAMP if at is None else Timestamp(micros=at)

    def get_checkpoint_mark(self) -> PubSubMark:
        taken, self._taken = self._taken, []
        settings = self._settings
        return PubSubMark(settings.endpoint, settings.subscription, self._key, taken, *self._puller.next_cut())

    def close(self) -> None:
        """Give back what no mark holds, unless a later reader has taken over: then this one holds nothing any more."""
        if _current_reader.get(self._key) is self:
            del _current_reader[self._key]
            taken, self._taken = self._taken, []
            # whoever comes next says where it stands: no mark has this number
            self._puller.reset(_NO_CUT, None, taken)
