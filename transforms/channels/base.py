"""What a channel is: it takes one message under one key and says what became of it.

A failed sending is one of three things, and the difference decides whether it may be tried again:
``TransientError`` (the receiver did not act; try again), ``PermanentError`` (it never will; do not),
``UncertainError`` (it may have acted; try again only under a key that the receiver honours).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec


class ChannelError(Exception):
    """A message was not, or not surely, taken. The text holds no personal data and no secret: it is stored."""


class TransientError(ChannelError):
    """The receiver did not act. ``retry_after`` is its own wish in seconds, if it stated one."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PermanentError(ChannelError):
    """The receiver refuses this message, and would refuse it again."""


class UncertainError(ChannelError):
    """The message left, and no answer came."""


@dataclass(frozen=True, slots=True)
class Message:
    """What goes out: whom and what, never features or raw identifiers. ``at`` is event time in UTC microseconds."""

    action_id: str
    decision_id: str
    person_id: str
    anchor_strand: str
    channel: str
    template: str
    at: int
    stage: str
    purpose: str | None
    plan: str | None
    plan_step: int | None
    session_id: str | None
    reason: str
    policy_version: str

    def as_json(self) -> bytes:
        """One line of JSON, fields in the order above, without its end of line."""
        return msgspec.json.encode(self)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The receiver has the message. ``detail`` is what it answered, for the record."""

    detail: str


class Channel(Protocol):
    """One way out.

    ``idempotent``: sending twice under one key has one effect. ``chunk``: messages handed over at once, whose intents
    are recorded in one commit; 1 where each sending can fail by itself.
    """

    name: str
    idempotent: bool
    chunk: int

    def send(self, messages: Sequence[Message]) -> Receipt:
        """Hand over at most ``chunk`` messages, each under its ``action_id`` as the key.

        Raises:
            TransientError, PermanentError, UncertainError: of all the messages; none was taken, or it is unknown.
        """
        ...

    def close(self) -> None: ...
