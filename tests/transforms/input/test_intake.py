"""The input stages as Beam runs them: everything received goes on or is a dead letter, and is counted once."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from contracts import wire
from contracts.event import DAY, HOUR, Event, Identifier
from contracts.event_codec import decode_event
from contracts.exchange import DeadLetter, LedgerCount, LinkBatch, Received, ShardInput, StrandEvent
from transforms.dead_letter import UNDATED, DeadLetterBox
from transforms.identity.rules_file import load_rules
from transforms.inputs import list_inputs
from transforms.intake import Protect, Validate
from transforms.protect import Pseudonymiser
from transforms.read import ReadEvents
from transforms.validate import ValidationRules

RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
IDENTITY = Path(__file__).parents[3] / "ontology" / "identity.yaml"
KEY, BOX = b"k" * 32, DeadLetterBox(b"d" * 32)


class _Keep(beam.DoFn):  # type: ignore[misc]
    """Writes elements to files, since what a worker remembers is not what the test sees."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def process(self, element: object) -> None:
        (self._folder / uuid.uuid4().hex).write_bytes(wire.pack(element))


KINDS: dict[str, Any] = {
    "strand_inputs": tuple[bytes, bytes],
    "links": LinkBatch,
    "dead_letters": DeadLetter,
    "ledger": LedgerCount,
}


def run(files: list[str], folder: Path, as_of: int | None = None) -> dict[str, list[Any]]:
    """The outputs of the three stages over some files."""
    with beam.Pipeline(runner=RUNNER, options=PipelineOptions(["--no_save_main_session"])) as pipeline:
        read = pipeline | "Read" >> ReadEvents(files, as_of)
        checked = read.received | "Validate" >> Validate(ValidationRules(), BOX)
        protected = checked.valid | "Protect" >> Protect(load_rules(IDENTITY), KEY, BOX)
        outputs = {
            "strand_inputs": protected.strand_inputs,
            "links": protected.links,
            "dead_letters": (checked.dead_letters, protected.dead_letters) | "Dead" >> beam.Flatten(),
            "ledger": (read.ledger, checked.ledger, protected.ledger) | "Ledger" >> beam.Flatten(),
        }
        for between in (read.received, checked.valid):
            assert beam.coders.registry.get_coder(between.element_type).to_type_hint() is Received
        for name, collection in outputs.items():
            (folder / name).mkdir(parents=True)
            collection | f"Keep{name}" >> beam.ParDo(_Keep(folder / name))
            coder = beam.coders.registry.get_coder(collection.element_type)
            assert "Pickle" not in str(coder), f"{name} would be pickled"
            assert "FastPrimitives" not in str(coder), f"{name} would be pickled"
    return {
        name: [wire.unpack(kind, p.read_bytes()) for p in (folder / name).iterdir()] for name, kind in KINDS.items()
    }


def strand_events(out: dict[str, list[Any]]) -> list[StrandEvent]:
    """What goes on to the strand stage."""
    return [e for _, packed in out["strand_inputs"] for e in wire.unpack_compressed(ShardInput, packed).events]


def test_everything_received_goes_on_or_is_a_dead_letter_and_the_ledger_balances(
    tmp_path: Path,
    make_event: Callable[..., Event],
    make_file: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("transforms.read.PIECE", 2_500)
    good = [make_event(n) for n in range(40)]
    bad = [
        make_event(100, name=""),
        make_event(101, identifiers=()),
        make_event(102, identifiers=(Identifier("user_id", "null"),)),
        make_event(103, received_time=make_event(103).event_time + 3 * DAY),
        make_event(104, event_time=make_event(104).received_time + HOUR),
    ]
    data = make_file(good + bad)
    (tmp_path / "a.avro").write_bytes(data)
    (tmp_path / "b.avro").write_bytes(b"this is no avro")
    (tmp_path / "c.avro").write_bytes(make_file([make_event(200 + n) for n in range(40)])[:-300])
    out = run(list_inputs([str(tmp_path)]), tmp_path / "out")

    events = strand_events(out)
    assert {e.event_id for e in events} >= {e.event_id for e in good}
    reasons = Counter(d.reason for d in out["dead_letters"])
    assert reasons == {
        "missing_field": 1,
        "no_identifier": 1,
        "no_usable_identifier": 1,
        "expired_late": 1,
        "clock_skew": 1,
        "not_avro": 1,
        "truncated": 1,
    }
    assert {d.reason for d in out["dead_letters"] if d.at == UNDATED} == {"not_avro", "truncated"}
    kinds: Counter[str] = Counter()
    for count in out["ledger"]:
        kinds[count.kind] += count.n
    assert kinds["received"] == len(events) + len(out["dead_letters"])
    assert kinds["dead_lettered"] == len(out["dead_letters"]) - 1
    assert kinds["expired_late"] == 1
    raw = {"a1", "u1"}
    assert not {i.value for e in events for i in wire.unpack(Event, e.event).identifiers} & raw
    pseudonym = Pseudonymiser(KEY).pseudonym(Identifier("user_id", "u1"))
    assert any(link.left == pseudonym for batch in out["links"] for link in batch.links)


def test_events_after_the_horizon_are_left_and_a_dead_letter_opens_to_the_whole_event(
    tmp_path: Path, make_event: Callable[..., Event], make_file: Callable[..., bytes]
) -> None:
    bad = make_event(1, name=" ")
    events = [make_event(0), bad, *(make_event(n) for n in range(2, 10))]
    (tmp_path / "a.avro").write_bytes(make_file(events))
    out = run([str(tmp_path / "a.avro")], tmp_path / "out", as_of=events[5].event_time)
    taken = {e.event_id for e in strand_events(out)}
    assert taken == {"e0", "e2", "e3", "e4"}  # e5 happened by then but was received later
    counts = {(c.kind, c.n) for c in out["ledger"]}
    assert counts == {("received", 5), ("after_horizon", 5), ("dead_lettered", 1)}
    (letter,) = out["dead_letters"]
    assert decode_event(BOX.open(letter.dead_letter_id, letter.payload)) == bad
    assert (letter.at, letter.source, letter.payload_schema) == (bad.received_time, "web", "event")
    assert b"u1" not in letter.payload
