"""What a journey shard gives up when it holds too much."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from journey_world import SETTINGS

from contracts.event import HOUR, Identifier
from transforms.journey.live.journeys import LiveJourneys
from transforms.journey.live.keeping import Bounds, Keeping
from transforms.journey.live.messages import HeldStrand, PersonRecord
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.effects import open_effects


def test_a_shard_beyond_its_bound_gives_up_what_is_too_much_longest_untouched_first(tmp_path: Path) -> None:
    effects = open_effects(StoreAddress(tmp_path / STORE_FILE))
    journeys = LiveJourneys(SETTINGS, None, effects)
    keeping = Keeping(journeys, Bounds(shard_bytes=10 * 100, idle=HOUR, settled=0))

    def come(number: int) -> None:
        strand = HeldStrand("s", Identifier("anonymous_id", "a"), None, 1, 1, (b"event",), size=100)
        journeys.hold(PersonRecord(f"p{number}", {"s": strand}))
        keeping.touched(f"p{number}", number)

    for number in range(10):
        come(number)
    keeping.touched("p1", 10)
    assert keeping.leaving(HOUR // 2, 500) == {}
    come(11)
    come(12)
    assert list(keeping.leaving(HOUR // 2, 500)) == ["p0", "p2"]
    assert list(keeping.leaving(HOUR // 2, 1)) == ["p0"]
    effects.close()
