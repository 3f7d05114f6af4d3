"""Draining together: the last steps of the strand shards of a stream, in rounds, until none has mail any more.

What a shard tells the identity store in its last step may move a strand of a shard that has had its own. So none has
its last before all have: a shard says that it is through a round, and whether it told the store anything in it, and
goes on to the next round when somebody did. In a round in which nobody did, every shard has read all that was told
before, and there is nothing else.

Rounds are noted in the shared database, under a name of the stream's own. Whoever begins anew, since its worker died,
tells again what it told, which moves nothing. State: the round of a shard, in memory. Errors: those of the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Meeting(Protocol):
    """Where the shards of a stream meet; numbers that only grow."""

    def note(self, shard: int, value: int) -> None:
        """Keep the number of a shard, unless it has a greater one."""

    def values(self) -> Sequence[int]:
        """The numbers of all shards; -1 of those that noted none."""


@dataclass(frozen=True, slots=True)
class Round:
    """Where a shard is: in which round, and whether it is through it and has to hear of the others."""

    number: int = 0
    is_through: bool = False


def after(now: Round, shard: int, meeting: Meeting | None, told: bool) -> tuple[Round, bool]:
    """Where a shard is after a step of its drain, and whether more steps are to come.

    Args:
        now: where it was; whatever the mailbox had is read.
        shard: its number.
        meeting: of all shards; None: this one drains alone.
        told: it told the store something in this step.
    """
    if meeting is None:
        return now, False
    number = now.number
    if not now.is_through:
        # a shard that began anew may tell what others, who are further, have to hear of in a round to come
        number = max(number, *(value // 2 for value in meeting.values()))
        meeting.note(shard, 2 * number + told)
    values = meeting.values()
    rounds = [value // 2 for value in values]
    if min(rounds) < number:
        return Round(number, True), True
    if max(rounds) == number and not any(value % 2 for value in values):
        return Round(number), False
    return Round(number + 1), True
