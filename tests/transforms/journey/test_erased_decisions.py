"""What was decided under events that are erased is not decided again, whichever of the two stages erases it first."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from test_archiving import World

from contracts.exchange import GONE, WHOLE
from transforms.stores.effects import History


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def in_store(world: World) -> History:
    return world.effects.histories({"p": ["s"]}).get("p", History())


@pytest.mark.parametrize("purged_before", [False, True])
@pytest.mark.parametrize("left", [0, 3])
def test_an_erased_person_whose_machine_is_gone_is_not_decided_about_again(
    world: World, purged_before: bool, left: int
) -> None:
    world.come(10)
    until = world.events[-1 - left].event_time
    decided = {decision.decision_id for decision in in_store(world).decisions if decision.at <= until}
    assert decided, "there is something to decide again"
    world.host.restart()
    world.host.decided.clear()
    before = dict(world.host.tables.rows["decisions"])
    if purged_before:
        world.effects.purge(["s"], until)
    world.events = world.events[10 - left :]
    world.send("p", WHOLE if left else GONE, world.events, until)
    assert not decided.intersection(world.host.decided), "nothing of it goes to the channels again"
    assert nothing_is_back(world, before, until, purged=purged_before)


def test_a_person_brought_back_for_something_else_before_it_hears_of_the_erasure_is_not_decided_about_again(
    world: World,
) -> None:
    world.come(10)
    until = world.events[-1].event_time
    decided = {decision.decision_id for decision in in_store(world).decisions}
    before = dict(world.host.tables.rows["decisions"])
    world.host.restart()
    world.host.decided.clear()
    world.effects.purge(["s"], until)
    world.late(world.events[3].event_time + 1)
    assert not decided.intersection(world.host.decided)
    world.events = []
    world.send("p", GONE, [], until)
    assert not decided.intersection(world.host.decided)
    assert nothing_is_back(world, before, until)


def nothing_is_back(world: World, before: dict[Any, Any], until: int, *, purged: bool = True) -> bool:
    """Whether the store has got no decision up to ``until`` again, and the tables show what they did."""
    after = world.host.tables.rows["decisions"]
    stated = {key: row for key, row in after.items() if key in before}
    known = {decision.decision_id for decision in in_store(world).decisions if decision.at <= until}
    return stated == before and (not known if purged else {(name,) for name in known} <= before.keys())
