"""What a journey shard gives up when it holds too much."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from journey_world import SETTINGS

from contracts.event import HOUR, Identifier
from transforms.journey.live.journeys import LiveJourneys
from transforms.journey.live.keeping import STROKE, Bounds, Keeping
from transforms.journey.live.messages import HeldStrand, PersonRecord
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.effects import open_effects


def test_a_shard_beyond_its_bound_gives_up_a_part_of_it_at_once_longest_untouched_first(tmp_path: Path) -> None:
    effects = open_effects(StoreAddress(tmp_path / STORE_FILE))
    journeys = LiveJourneys(SETTINGS, None, effects)
    keeping = Keeping(journeys, Bounds(shard_bytes=2 * STROKE * 100, idle=HOUR, settled=0))

    def come(number: int) -> None:
        strand = HeldStrand("s", Identifier("anonymous_id", "a"), None, 1, 1, (b"event",), size=100)
        journeys.hold(PersonRecord(f"p{number}", {"s": strand}))
        keeping.touched(f"p{number}", number)

    for number in range(2 * STROKE):
        come(number)
    keeping.touched("p1", 2 * STROKE)
    assert keeping.leaving(HOUR // 2, 500) == {}
    come(2 * STROKE)
    assert list(keeping.leaving(HOUR // 2, 500)) == ["p0", "p2", "p3"]
    assert list(keeping.leaving(HOUR // 2, 2)) == ["p0", "p2"]
    effects.close()
