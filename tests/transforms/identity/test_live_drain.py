"""Draining in rounds: no shard has its last step before every one is through, and none waits for ever."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from transforms.identity.live_drain import Round, after


class Table:
    """A meeting in memory."""

    def __init__(self, shards: int) -> None:
        self.noted = [-1] * shards

    def note(self, shard: int, value: int) -> None:
        self.noted[shard] = max(self.noted[shard], value)

    def values(self) -> list[int]:
        return list(self.noted)


def test_a_shard_alone_drains_once() -> None:
    assert after(Round(), 0, None, True) == (Round(), False)


@given(
    shards=st.integers(1, 5), mail=st.integers(0, 12), forgetful=st.floats(0, 0.3),
    rnd=st.randoms(use_true_random=False),
)  # fmt: skip
def test_all_mail_is_read_whoever_is_when_at_work_and_whoever_begins_anew(
    shards: int, mail: int, forgetful: float, rnd: random.Random
) -> None:
    table = Table(shards)
    letters = [0] * shards
    letters[0] = mail and 1
    left = mail
    rounds, going = [Round() for _ in range(shards)], set(range(shards))
    for _ in range(10_000):
        if not going:
            break
        shard = rnd.choice(sorted(going))
        if rnd.random() < forgetful:
            # its worker died: what it was in memory is gone, what it noted is not
            rounds[shard] = Round()
            forgetful /= 2
        told = False
        if not rounds[shard].is_through:
            # each letter that is read makes another one for anybody, as long as there are any
            while letters[shard]:
                letters[shard] -= 1
                left -= 1
                if left > 0:
                    letters[rnd.randrange(shards)] += 1
                    told = True
        rounds[shard], again = after(rounds[shard], shard, table, told)
        if not again:
            going.discard(shard)
    assert not going, "somebody waits for ever"
    assert not any(letters)
