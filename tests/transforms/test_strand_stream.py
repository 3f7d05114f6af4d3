"""The strand stage's part of the streaming host: cores over real stores."""

from __future__ import annotations

import pickle
from pathlib import Path

from contracts import wire
from contracts.event import Event, Identifier
from contracts.exchange import APPEND, WHOLE, ShardInput, StrandEvent
from transforms.actor.core import Step
from transforms.dead_letter import DeadLetterBox
from transforms.identity.ids import shard_of
from transforms.identity.live_step import MESSAGES
from transforms.identity.rules_file import load_rules
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.identity import open_identity
from transforms.strand_stream import StrandCores

RULES = load_rules(Path(__file__).parents[2] / "ontology" / "identity.yaml")
DEVICE = Identifier("anonymous_id", "a" * 32)
NOON = 1_750_000_000_000_000


def packed(number: int) -> bytes:
    event = Event(f"e{number}", "view", NOON + number, NOON + number, "web", "web", (DEVICE,))
    at = event.event_time
    return wire.pack_compressed(
        ShardInput((StrandEvent(event.event_id, at, at, "web", DEVICE, None, wire.pack(event)),))
    )


def kinds(step: Step) -> list[str]:
    return [message.kind for tag, message in step.outputs if tag == MESSAGES]


def test_a_core_goes_on_with_the_connections_of_another_instance(tmp_path: Path) -> None:
    address = StoreAddress(tmp_path / STORE_FILE)
    identity = open_identity(address, RULES, 4)
    identity.link(RULES.links((DEVICE,), "view", "e1", NOON, NOON))
    identity.close()
    made = StrandCores(address, RULES, 4, DeadLetterBox(b"k" * 32), "")
    # as the engine sends it to two workers
    first, second = (pickle.loads(pickle.dumps(made)) for _ in range(2))  # noqa: S301  # our own bytes of just now
    first.setup()
    core = first.core(shard_of(DEVICE, 4))
    step = core.handle([packed(1)], NOON)
    core.commit(step)
    assert kinds(step) == [WHOLE]
    first.teardown()
    first.teardown()
    second.setup()
    second.adopt(core)
    assert kinds(core.handle([packed(2)], NOON)) == [APPEND]
    second.teardown()
