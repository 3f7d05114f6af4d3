"""Replayed dead letters are the same events and bytes; what dies again is the same dead letter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from contracts.errors import ConfigurationError, InputError, OutputError
from contracts.event import Event
from contracts.event_codec import encode_event
from contracts.exchange import DeadLetter, Message
from contracts.tables import DEAD_LETTERS, EXPIRED_LATE, Table
from pipelines.commands.dead_letters import command
from transforms.dead_letter import DeadLetterBox
from transforms.payloads import pack_message
from transforms.read import received_of
from transforms.replay import replay_dead_letters
from transforms.tables.batches import columns_of, table_file
from transforms.tables.commit import commit
from transforms.tables.output import next_revision, writing
from transforms.tables.parts import write_part
from transforms.validate import ValidationRules, Validator

KEY = b"d" * 32
BOX = DeadLetterBox(KEY)
Maker = Callable[..., Event]


def letters_of(folder: Path) -> Iterator[DeadLetter]:
    """What reading and validating the event files of a folder rejects."""
    for path in sorted(folder.glob("*.avro")):
        for unit in received_of(str(path), None, Counter()):
            if unit.event is None:
                assert unit.reason
                yield BOX.reject("read", unit.reason, unit.detail, unit.source, unit.schema_id, 0, "raw", unit.payload)
                continue
            verdict = Validator(ValidationRules()).check(unit.event)
            if verdict.reason:
                yield BOX.reject_event("validate", verdict.reason, verdict.detail, unit.event, unit.schema_id)


def store(out: Path, letters: list[DeadLetter]) -> None:
    with writing(out) as folder:
        revision = next_revision(folder)
        for table, expired in ((DEAD_LETTERS, False), (EXPIRED_LATE, True)):
            rows = [_row(letter, table) for letter in letters if letter.expired is expired]
            batch = table_file(table, "p0", columns_of(rows, len(table.columns)), revision=revision, is_final=False)
            if batch is not None:
                write_part(folder.staging, batch)
        commit(folder, (DEAD_LETTERS, EXPIRED_LATE), revision)


def _row(letter: DeadLetter, table: Table) -> tuple[object, ...]:
    return tuple(getattr(letter, name) for name in table.column_names)


@pytest.fixture(name="world")
def world_fixture(tmp_path: Path, make_event: Maker, make_file: Callable[..., bytes]) -> tuple[Path, list[DeadLetter]]:
    """An output folder with one letter of each of several reasons, and those letters."""
    source = tmp_path / "source"
    source.mkdir()
    late = make_event(9, received_time=make_event(9).event_time + 10**12)
    bad = [make_event(1, name=""), make_event(2, name=""), make_event(3, identifiers=()), late]
    (source / "a.avro").write_bytes(make_file([make_event(0), *bad]))
    (source / "b.avro").write_bytes(make_file([make_event(n) for n in range(20, 40)])[:-90])
    (source / "c.avro").write_bytes(b"no avro at all")
    letters = list(letters_of(source))
    assert Counter(d.reason for d in letters) == {
        "missing_field": 2,
        "no_identifier": 1,
        "expired_late": 1,
        "truncated": 1,
        "not_avro": 1,
    }
    store(tmp_path / "out", letters)
    return tmp_path / "out", letters


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_replayed_dies_as_the_same_letters_and_twice_writes_the_same(
    tmp_path: Path, world: tuple[Path, list[DeadLetter]]
) -> None:
    out, letters = world
    summary = replay_dead_letters(out, tmp_path / "to", BOX)
    assert summary.events == {"missing_field": 2, "no_identifier": 1}
    assert summary.raw == {"truncated": 1, "not_avro": 1}
    again = {(d.dead_letter_id, d.payload) for d in letters_of(tmp_path / "to")}
    assert again == {(d.dead_letter_id, d.payload) for d in letters if not d.expired}
    before = content(tmp_path / "to")
    replay_dead_letters(out, tmp_path / "to", BOX)
    assert content(tmp_path / "to") == before


def test_late_events_are_replayed_only_when_asked_for(tmp_path: Path, world: tuple[Path, list[DeadLetter]]) -> None:
    out, letters = world
    replay_dead_letters(out, tmp_path / "to", BOX, ["expired_late"])
    assert [d.dead_letter_id for d in letters_of(tmp_path / "to")] == [d.dead_letter_id for d in letters if d.expired]


def test_faults_are_named(tmp_path: Path, world: tuple[Path, list[DeadLetter]]) -> None:
    out, _ = world
    with pytest.raises(InputError) as caught:
        replay_dead_letters(out, tmp_path / "to", BOX, ["truncatd"])
    assert "truncated" in caught.value.hint
    with pytest.raises(ConfigurationError, match="does not open"):
        replay_dead_letters(out, tmp_path / "to", DeadLetterBox(b"x" * 32))
    with pytest.raises(OutputError, match="no Wayline output"):
        replay_dead_letters(tmp_path / "nothing", tmp_path / "to", BOX)
    with pytest.raises(OutputError, match="lies inside"):
        replay_dead_letters(out, out / "to", BOX)


def test_of_an_import_the_command_says_to_import_again(tmp_path: Path) -> None:
    (tmp_path / "mine" / "dead_letters").mkdir(parents=True)
    (tmp_path / "mine" / "dead_letters" / "rows.avro").write_bytes(b"")
    arguments = ["--out", str(tmp_path / "mine"), "--to", str(tmp_path / "to")]
    with pytest.raises(OutputError, match="dead letters of an import") as caught:
        CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert "import again" in caught.value.hint


def test_a_wrong_folder_is_named_before_a_key_is_asked_for(tmp_path: Path) -> None:
    arguments = ["--out", str(tmp_path / "nothing"), "--to", str(tmp_path / "to")]
    with pytest.raises(OutputError, match="no Wayline output folder"):
        CliRunner().invoke(command, arguments, catch_exceptions=False)


def test_the_command_says_what_it_wrote_and_how_to_go_on(tmp_path: Path, world: tuple[Path, list[DeadLetter]]) -> None:
    key = tmp_path / "key"
    key.write_text(KEY.hex())
    arguments = ["--out", str(world[0]), "--to", str(tmp_path / "to"), "--dead-letter-key", str(key)]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert "missing_field: 2 events" in result.output
    assert "wayline run --input" in result.output


def test_a_message_of_an_unknown_schema_is_an_event_once_the_schema_is_known(tmp_path: Path, make_event: Maker) -> None:
    message = Message(b"\x00\x00\x00\x00\x05" + encode_event(make_event(9)), {}, make_event(9).received_time)
    garbage = Message(b"\x00\x00\x00\x00\x05junk", {}, 5)
    letters = [
        BOX.reject("read", "unknown_schema", "registry id 5", "orders", "", 0, "raw", pack_message(m))
        for m in (message, garbage)
    ]
    out, to = tmp_path / "out", tmp_path / "to"
    store(out, letters)
    unknown = replay_dead_letters(out, to, BOX)
    assert (dict(unknown.skipped), unknown.files) == ({"unknown_schema": 2}, [])
    schemas = tmp_path / "schemas"
    schemas.mkdir()
    (schemas / "schemas.yaml").write_text("schemas:\n  - {event: 1, confluent_ids: [5]}\n")
    (out / "keys").mkdir()
    (out / "keys" / "dead_letter.key").write_text(KEY.hex())
    arguments = ["--out", str(out), "--to", str(to), "--schemas", str(schemas)]
    result = CliRunner().invoke(command, arguments)
    assert "unknown_schema: 1 events, 0 raw, 1 that cannot be read" in result.output
    (path,) = to.glob("*.avro")
    assert [unit.event for unit in received_of(str(path), None, Counter())] == [make_event(9)]
