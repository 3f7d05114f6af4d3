"""The link stage of a stream: links are stored before events go on, and a store that is away loses nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from benchmarks.postgres_server import PostgresServer
from contracts import wire
from contracts.errors import OutputError
from contracts.event import HOUR, Event, Identifier
from contracts.event_codec import decode_event
from contracts.exchange import DeadLetter, LedgerCount, Link, Received, ShardInput
from transforms.dead_letter import EVENT_PAYLOAD, DeadLetterBox
from transforms.identity.rules import IdentityRules
from transforms.identity.rules_file import load_rules
from transforms.intake import Validate
from transforms.link_stream import GREATEST_EVENT_TIME, LinkStore, ProtectAndLink, StoreAwayError, StoredLinks
from transforms.protect import Pseudonymiser
from transforms.secret import SecretReference
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.identity import open_identity
from transforms.stores.progress import open_progress
from transforms.validate import ValidationRules

RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
IDENTITY = Path(__file__).parents[2] / "ontology" / "identity.yaml"
KEY, BOX, SHARDS = b"k" * 32, DeadLetterBox(b"d" * 32), 8
NOON = 1_750_000_000_000_000
RULES = load_rules(IDENTITY)


def a_link(number: int) -> Link:
    at = NOON + number
    ends = (Identifier("user_id", f"{number:032x}"), Identifier("anonymous_id", f"{number:032x}"))
    return Link(*ends, at, f"e{number}", at, f"e{number}", at)


def an_event(number: int, **changes: Any) -> Event:
    fields: dict[str, Any] = {
        "event_id": f"e{number}",
        "name": "product_view",
        "event_time": NOON + number,
        "received_time": NOON + number + 1,
        "source": "web",
        "channel": "web",
        "identifiers": (Identifier("anonymous_id", f"a{number % 7}"), Identifier("user_id", f"u{number % 5}")),
        "properties": {"price": 9.5},
    }
    return Event(**{**fields, **changes})


def store(address: StoreAddress, patience: float = 30.0, rules: IdentityRules = RULES) -> LinkStore:
    return LinkStore(address, rules, SHARDS, patience)


@pytest.fixture
def file(tmp_path: Path) -> StoreAddress:
    return StoreAddress(tmp_path / "stores" / STORE_FILE)


@pytest.fixture
def server(postgres_server: PostgresServer, tmp_path: Path) -> StoreAddress:
    secret = tmp_path / "store_url"
    secret.write_text(postgres_server.make_schema() + "\n")
    return StoreAddress(postgres=SecretReference(path=str(secret)))


@pytest.fixture
def opened() -> Iterator[list[StoredLinks]]:
    made: list[StoredLinks] = []
    yield made
    for links in made:
        links.close()


def known(address: StoreAddress) -> set[str]:
    """Event ids that stand as evidence in the store."""
    identity = open_identity(address, RULES, SHARDS)
    try:
        ends = {a.primary for shard in range(SHARDS) for a in identity.assignments_since(shard, 0, 10_000)}
        return {edge.first_event_id for edge in identity.edges(ends)}
    finally:
        identity.close()


# --- without Beam --------------------------------------------------------------------------------------------------


def test_a_link_is_told_once_and_the_greatest_event_time_is_noted(
    file: StoreAddress, opened: list[StoredLinks]
) -> None:
    links = StoredLinks(store(file))
    opened.append(links)
    assert links.tell([a_link(1), a_link(2)], NOON + 2)[0] == 2
    assert links.tell([a_link(1)], NOON + 1)[0] == 0
    assert known(file) == {"e1", "e2"}
    progress = open_progress(file)
    assert progress.value(GREATEST_EVENT_TIME) == NOON + 2
    assert links.tell([a_link(2)], NOON + 9)[0] == 0
    assert progress.value(GREATEST_EVENT_TIME) == NOON + 9
    progress.close()


def test_a_server_that_goes_and_comes_back_is_waited_for(
    postgres_server: PostgresServer, server: StoreAddress, opened: list[StoredLinks]
) -> None:
    links = StoredLinks(store(server))
    opened.append(links)
    links.tell([a_link(1)], NOON)
    postgres_server.stop(signal.SIGQUIT)
    timer = threading.Timer(1.0, postgres_server.start)
    timer.start()
    try:
        assert links.tell([a_link(2)], NOON + 2)[0] == 1
    finally:
        timer.join()
    assert known(server) == {"e1", "e2"}


def test_a_server_that_stays_away_is_given_up_and_nothing_is_taken_for_told(
    postgres_server: PostgresServer, server: StoreAddress, opened: list[StoredLinks]
) -> None:
    links = StoredLinks(store(server, patience=1.0))
    opened.append(links)
    links.tell([a_link(1)], NOON)
    postgres_server.stop(signal.SIGINT)
    try:
        with pytest.raises(StoreAwayError):
            links.tell([a_link(2)], NOON + 2)
    finally:
        postgres_server.start()
    assert known(server) == {"e1"}
    assert links.tell([a_link(2)], NOON + 2)[0] == 1
    assert known(server) == {"e1", "e2"}


HOLD = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_file_that_another_process_holds_is_waited_for(file: StoreAddress, opened: list[StoredLinks]) -> None:
    links = StoredLinks(store(file, patience=20.0))
    opened.append(links)
    links.tell([a_link(1)], NOON)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == b"held\n"
        impatient = StoredLinks(store(file, patience=0.2))
        opened.append(impatient)
        with pytest.raises(StoreAwayError):
            impatient.tell([a_link(3)], NOON)
        timer = threading.Timer(0.5, other.stdin.close)
        timer.start()
        assert links.tell([a_link(2)], NOON)[0] == 1
        timer.join()
    assert known(file) == {"e1", "e2"}


def test_pauses_double_and_end_with_the_patience(
    postgres_server: PostgresServer, server: StoreAddress, opened: list[StoredLinks]
) -> None:
    now, pauses = [0.0], []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    links = StoredLinks(store(server, patience=0.3), sleep, lambda: now[0])
    opened.append(links)
    postgres_server.stop(signal.SIGINT)
    try:
        with pytest.raises(StoreAwayError) as given_up:
            links.tell([a_link(1)], NOON)
    finally:
        postgres_server.start()
    assert pauses == pytest.approx([0.05, 0.1, 0.15])
    assert given_up.value.attempts == 4


def test_a_store_of_other_rules_is_no_matter_of_patience(file: StoreAddress, opened: list[StoredLinks]) -> None:
    identity = open_identity(file, RULES, SHARDS * 2)
    identity.link([a_link(1)])
    identity.close()
    links = StoredLinks(store(file))
    opened.append(links)
    with pytest.raises(OutputError, match="16 shards"):
        links.tell([a_link(2)], NOON)


# --- as Beam runs it -------------------------------------------------------------------------------------------------


class _Keep(beam.DoFn):  # type: ignore[misc]
    """Writes elements to files, since what a worker remembers is not what the test sees."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def process(self, element: object) -> None:
        (self._folder / uuid.uuid4().hex).write_bytes(wire.pack(element))


KINDS: dict[str, Any] = {"strand_inputs": tuple[bytes, bytes], "dead_letters": DeadLetter, "ledger": LedgerCount}


def run(events: list[Event], to: LinkStore, folder: Path) -> dict[str, list[Any]]:
    with beam.Pipeline(runner=RUNNER, options=PipelineOptions(["--no_save_main_session"])) as pipeline:
        received = pipeline | beam.Create([Received("web", "s", e) for e in events]).with_output_types(Received)
        checked = received | "Validate" >> Validate(ValidationRules(), BOX)
        linked = checked.valid | "Link" >> ProtectAndLink(to, KEY, BOX)
        outputs = {
            "strand_inputs": linked.strand_inputs,
            "dead_letters": (checked.dead_letters, linked.dead_letters) | "Dead" >> beam.Flatten(),
            "ledger": (checked.ledger, linked.ledger) | "Ledger" >> beam.Flatten(),
        }
        for name, collection in outputs.items():
            (folder / name).mkdir(parents=True)
            collection | f"Keep{name}" >> beam.ParDo(_Keep(folder / name))
            coder = beam.coders.registry.get_coder(collection.element_type)
            assert "Pickle" not in str(coder), f"{name} would be pickled"
    return {
        name: [wire.unpack(kind, p.read_bytes()) for p in (folder / name).iterdir()] for name, kind in KINDS.items()
    }


def sent_on(out: dict[str, list[Any]]) -> set[str]:
    batches = [wire.unpack_compressed(ShardInput, packed) for _, packed in out["strand_inputs"]]
    return {event.event_id for batch in batches for event in batch.events}


def test_events_go_on_with_their_links_stored(file: StoreAddress, tmp_path: Path) -> None:
    events = [an_event(n) for n in range(50)]
    blocked = an_event(60, identifiers=(Identifier("user_id", "null"),))
    out = run([*events, blocked], store(file), tmp_path / "out")
    assert sent_on(out) == {event.event_id for event in events}
    (letter,) = out["dead_letters"]
    assert letter.reason == "no_usable_identifier"
    assert out["ledger"] == [LedgerCount("web", "dead_lettered", 1)]
    identity = open_identity(file, RULES, SHARDS)
    device = Pseudonymiser(KEY).pseudonym(Identifier("anonymous_id", "a3"))
    user = Pseudonymiser(KEY).pseudonym(Identifier("user_id", "u3"))
    assert user in {edge.left for edge in identity.edges([device])}
    identity.close()


def test_when_the_store_stays_away_events_are_whole_dead_letters_and_the_stream_goes_on(
    postgres_server: PostgresServer, server: StoreAddress, tmp_path: Path
) -> None:
    events = [an_event(n) for n in range(20)]
    postgres_server.stop(signal.SIGINT)
    try:
        out = run(events, store(server, patience=0.5), tmp_path / "away")
    finally:
        postgres_server.start()
    assert out["strand_inputs"] == []
    assert {letter.reason for letter in out["dead_letters"]} == {"identity_store_unavailable"}
    assert {letter.payload_schema for letter in out["dead_letters"]} == {EVENT_PAYLOAD}
    kept = [decode_event(BOX.open(letter.dead_letter_id, letter.payload)) for letter in out["dead_letters"]]
    assert sorted(kept, key=lambda event: event.event_time) == events
    assert sum(count.n for count in out["ledger"]) == 20
    again = run(kept, store(server), tmp_path / "back")
    assert sent_on(again) == {event.event_id for event in events}


def test_an_event_later_than_the_lateness_goes_whole_to_expired_late(file: StoreAddress, tmp_path: Path) -> None:
    late = an_event(1, received_time=NOON + 1 + 48 * HOUR + 1)
    just = an_event(2, received_time=NOON + 2 + 48 * HOUR)
    out = run([late, just], store(file), tmp_path / "out")
    assert sent_on(out) == {"e2"}
    (letter,) = out["dead_letters"]
    assert (letter.reason, letter.expired, letter.payload_schema) == ("expired_late", True, EVENT_PAYLOAD)
    assert decode_event(BOX.open(letter.dead_letter_id, letter.payload)) == late
    assert out["ledger"] == [LedgerCount("web", "expired_late", 1)]
