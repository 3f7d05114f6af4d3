"""No skew: whoever reads online gets what the pure function gives for the events of that revision, at every moment.

Streams of shards live side by side: events late and out of order, persons that merge, part and are erased. What they
push is written in bundles, some of which fail half-way and come again, and some of which come a second time much later.
After each bundle persons are read, one by one, and compared with a fold from nothing of what was known then.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "transforms" / "journey"))

from journey_world import ONTOLOGY, SETTINGS, Strands

from benchmarks.redis_server import RedisServer
from contracts.exchange import OnlineFeatures
from features.journey_features import FEATURE_NAMES, named
from features.online_address import OnlineAddress, open_online
from features.online_table import ONLINE_FILE, OnlineRow
from features.online_writer import OnlineWriter
from transforms.journey.fold import JourneyFold
from transforms.journey.functions import FUNCTIONS
from transforms.journey.live.journeys import LiveJourneys
from transforms.journey.live.messages import event_of
from transforms.secret import SecretReference
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.effects import open_effects

SHARDS, STEPS = 12, 40
Expected = dict[str, OnlineRow | None]


@dataclass(frozen=True)
class Push:
    """What a shard pushes at once, and what is true of those it touches from then on."""

    online: OnlineFeatures
    true: Expected


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> list[list[Push]]:
    """What each shard pushes, in order."""
    store = open_effects(StoreAddress(tmp_path_factory.mktemp("effects") / STORE_FILE))
    found = [_life(seed, LiveJourneys(SETTINGS, None, store)) for seed in range(SHARDS)]
    store.close()
    assert sum(len(push.online.retired) for shard in found for push in shard) > 10
    return found


def _life(seed: int, live: LiveJourneys) -> list[Push]:
    rng = random.Random(seed)
    strands = Strands(rng)
    strands.live(STEPS, erasing=True)
    pure = JourneyFold(ONTOLOGY, FUNCTIONS, SETTINGS.lateness)
    made: list[Push] = []
    now = 1_700_000_000_000_000 + seed

    def took(online: OnlineFeatures | None) -> None:
        if online is None:
            return
        true: Expected = dict.fromkeys(_of(seed, person) for person in online.retired)
        rows = []
        for person, revision, at, values in online.rows:
            events = [(event_of(packed), strand) for packed, strand in live.records[person].events()]
            last = pure.trace(person, [item for item in events if item[0].event_time <= at], at).points[-1]
            rows.append((_of(seed, person), revision, at, values))
            true[_of(seed, person)] = OnlineRow(revision, last.at, named(last.vector))
        made.append(Push(OnlineFeatures(tuple(rows), tuple(_of(seed, person) for person in online.retired)), true))

    messages = list(strands.sent)
    while messages:
        size = rng.choice((1, 1, 2, 5))
        now += rng.randrange(1, 1_000)
        work = live.apply(messages[:size], now)
        live.commit(work)
        took(work.online)
        del messages[:size]
        watermark = strands.now - rng.randrange(20) * 86_400_000_000
        while (due := live.dues.first()) is not None and due <= watermark and rng.random() < 0.5:
            work = live.advance(watermark, now, most=2)
            live.commit(work)
            took(work.online)
    return made


def _of(seed: int, person: str) -> str:
    return f"{seed}-{person}"


@pytest.fixture(params=["file", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OnlineAddress]:
    if request.param == "file":
        yield OnlineAddress(path=tmp_path / ONLINE_FILE)
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    monkeypatch.setenv("SKEW_URL", server.url)
    address = OnlineAddress(redis=SecretReference(env="SKEW_URL"), prefix="wayline:skew")
    yield address
    table = open_online(address)
    table.clear()
    table.close()


@pytest.mark.parametrize("reads", [10_000])
def test_ten_thousand_reads_are_what_the_pure_function_gives(
    pushed: list[list[Push]], place: OnlineAddress, reads: int
) -> None:
    rng = random.Random(1)
    writer, reader = OnlineWriter(place), open_online(place)
    writer.setup()
    waiting = [list(shard) for shard in pushed]
    true: Expected = {}
    written: list[Push] = []
    bundles = sum(len(shard) for shard in pushed)
    each = -(-reads // bundles)
    done = values = 0
    for _ in range(bundles):
        shard = rng.choice([shard for shard in waiting if shard])
        push = shard.pop(0)
        _bundle(writer, push, rng, written)
        written.append(push)
        true.update(push.true)
        persons = sorted(true)
        for person in rng.choices(persons, k=each):
            (row,) = reader.read([person])
            assert row == true[person]
            done += 1
            values += 0 if row is None else len(row.values)
    assert reader.read(sorted(true)) == [true[person] for person in sorted(true)]
    assert done >= reads
    assert values > done // 2 * len(FEATURE_NAMES), "most of whom was asked for are there"
    writer.close()
    reader.close()


def _bundle(writer: OnlineWriter, push: Push, rng: random.Random, written: list[Push]) -> None:
    """Write a bundle: perhaps after it failed once, before or after it was written; perhaps with an old one again."""
    dice = rng.random()
    if dice < 0.2:
        writer.write(push.online)
        if dice < 0.1:
            writer.flush()
        writer.discard()
    if dice > 0.8 and written:
        # what a worker that was thought dead still writes: rows alone, since it has nobody to remove any more
        old = rng.choice(written).online
        writer.write(OnlineFeatures(old.rows))
        writer.flush()
    writer.write(push.online)
    writer.flush()


def test_the_comparison_would_see_a_skew(pushed: list[list[Push]], place: OnlineAddress) -> None:
    """A value that differs in its last bit, and a row of a revision before, are other rows."""
    told = [push for shard in pushed for push in shard if push.online.rows]
    person, revision, at, values = told[-1].online.rows[0]
    true = told[-1].true[person]
    table = open_online(place)
    spoilt = [(math.nextafter(values[0], math.inf), *values[1:]), (*values[:-1], math.nextafter(values[-1], -1.0))]
    for number, row in enumerate((values, *spoilt)):
        table.clear()
        table.write(FEATURE_NAMES, [(person, revision, at, row)])
        assert (table.read([person]) == [true]) == (number == 0)
    table.close()
