"""Sending through a channel with what makes that bearable: attempts with growing pauses, a rate, and giving up for now.

A channel that fails several times in a row is left alone for the rest of the bundle: its messages stay pending and
the next run takes them up, so a dead receiver costs a few timeouts and not one for each customer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from transforms.channels.base import Channel, Message, PermanentError, TransientError, UncertainError
from transforms.stores.effects import FAILED, IN_DOUBT, SENT

BREAK_AFTER = 5
"""Messages in a row that met a dead receiver, after which the channel counts as down."""

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 30.0


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of messages: a status of ``transforms.stores.effects``, why, and how often it was tried."""

    status: str
    reason: str
    attempts: int


class Delivery:
    """One channel with its patience.

    Args:
        channel: the way out; closed with this.
        attempts: tries a message.
        rate: messages a second, None without bound.
        clock: seconds, growing; only differences count.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        attempts: int,
        rate: float | None,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self.channel = channel
        self._attempts = attempts
        self._interval = 1 / rate if rate else 0.0
        self._clock = clock
        self._sleep = sleep
        self._next = clock()
        self._failures = 0

    @property
    def is_down(self) -> bool:
        """Whether the receiver failed so often in a row that it should be left alone."""
        return self._failures >= BREAK_AFTER

    def reset(self) -> None:
        """Believe in the receiver again; called at the start of a bundle."""
        self._failures = 0

    def close(self) -> None:
        self.channel.close()

    def send(self, messages: Sequence[Message]) -> Delivered:
        """Send messages together, trying again while that is harmless. Never raises a ``ChannelError``."""
        tried = 0
        doubt = ""
        while True:
            tried += 1
            self._keep_rate(len(messages))
            wished: float | None = None
            try:
                receipt = self.channel.send(messages)
            except PermanentError as error:
                # The receiver lives, and says no.
                self._failures = 0
                return _failed(str(error), doubt, tried)
            except UncertainError as error:
                doubt = f"{error}; the receiver may have acted"
                last = tried >= self._attempts or not self.channel.idempotent
                why = str(error)
            except TransientError as error:
                last = tried >= self._attempts
                why, wished = str(error), error.retry_after
            else:
                self._failures = 0
                return Delivered(SENT, receipt.detail, tried)
            if last:
                self._failures += 1
                return _failed(why, doubt, tried)
            self._sleep(self._pause(messages, tried, wished))

    def _pause(self, messages: Sequence[Message], tried: int, wished: float | None) -> float:
        """Doubling from a quarter of a second, spread by the key so that many senders do not come back at once."""
        spread = hashlib.blake2b(f"{messages[0].action_id}:{tried}".encode(), digest_size=2).digest()
        pause: float = _FIRST_PAUSE * 2.0 ** (tried - 1) * (0.5 + int.from_bytes(spread) / 65535)
        return min(max(pause, wished or 0.0), _LONGEST_PAUSE)

    def _keep_rate(self, n: int) -> None:
        if not self._interval:
            return
        now = self._clock()
        if now < self._next:
            self._sleep(self._next - now)
        self._next = max(now, self._next) + n * self._interval


def _failed(reason: str, doubt: str, tried: int) -> Delivered:
    """Given up: in doubt as soon as one of the tries may have come through."""
    return Delivered(IN_DOUBT, doubt, tried) if doubt else Delivered(FAILED, reason, tried)
