"""Dead letters are whole, encrypted, and the same however often the same thing is rejected."""

from __future__ import annotations

import os
import pickle
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import ConfigurationError, InputError, OutputError
from contracts.event import Event
from contracts.event_codec import decode_event
from transforms.dead_letter import DeadLetterBox
from transforms.inputs import list_inputs
from transforms.keys import create_key_file, load_key, parse_key

BOX = DeadLetterBox(b"k" * 32)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300))
def test_any_payload_comes_back_whole(payload: bytes) -> None:
    letter = BOX.reject("read", "not_avro", "", "file", "", 0, "raw", payload)
    assert pickle.loads(pickle.dumps(BOX)).open(letter.dead_letter_id, letter.payload) == payload  # noqa: S301
    assert len(payload) < 4 or payload not in letter.payload


def test_the_same_rejection_is_the_same_letter_and_any_other_another(make_event: Callable[..., Event]) -> None:
    event = make_event(1)
    one = BOX.reject_event("validate", "oversize", "a", event, "s")
    assert BOX.reject_event("validate", "oversize", "a", event, "s") == one
    others = {
        BOX.reject_event("validate", "clock_skew", "a", event, "s").dead_letter_id,
        BOX.reject_event("protect", "oversize", "a", event, "s").dead_letter_id,
        BOX.reject_event("validate", "oversize", "a", make_event(2), "s").dead_letter_id,
        DeadLetterBox(b"j" * 32).reject_event("validate", "oversize", "a", event, "s").dead_letter_id,
    }
    assert len(others | {one.dead_letter_id}) == 5
    assert decode_event(BOX.open(one.dead_letter_id, one.payload)) == event
    assert not one.expired
    assert BOX.reject_event("validate", "expired_late", "", event, "s").expired


def test_another_key_or_a_changed_letter_is_refused() -> None:
    letter = BOX.reject("read", "not_avro", "", "file", "", 0, "raw", b"payload")
    for box, letter_id, payload in (
        (DeadLetterBox(b"j" * 32), letter.dead_letter_id, letter.payload),
        (BOX, "0" * 32, letter.payload),
        (BOX, letter.dead_letter_id, letter.payload[:-1] + b"x"),
        (BOX, letter.dead_letter_id, b""),
    ):
        with pytest.raises(ConfigurationError, match="does not open"):
            box.open(letter_id, payload)


# --- keys ----------------------------------------------------------------------------------------------------------


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "pseudonym.key"
    key = load_key("NO_SUCH_KEY", default=path, create=True, environment={})
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert create_key_file(path) == key == load_key("NO_SUCH_KEY", default=path, environment={})
    assert os.listdir(path.parent) == ["pseudonym.key"]


def test_a_key_that_cannot_be_written_is_a_fault_of_the_output(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match="cannot be written"):
        load_key("NO_SUCH_KEY", default=tmp_path / "file" / "keys" / "k.key", create=True, environment={})


def test_the_file_given_wins_over_the_environment_and_that_over_the_default(tmp_path: Path) -> None:
    given_file, default = tmp_path / "given", tmp_path / "default"
    given_file.write_text("aa" * 32 + "\n")
    default.write_text("bb" * 32)
    env = {"K": "cc" * 32}
    assert load_key("K", given=given_file, default=default, environment=env) == b"\xaa" * 32
    assert load_key("K", default=default, environment=env) == b"\xcc" * 32
    assert load_key("K", default=default, environment={"K_FILE": str(given_file)}) == b"\xaa" * 32
    assert load_key("K", default=default, environment={}) == b"\xbb" * 32


@pytest.mark.parametrize("text", ["", "zz", "ab" * 15, "secret-but-no-hex"])
def test_an_unfit_key_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_key(text, "the place")
    assert "the place" in caught.value.message
    assert not text or text not in caught.value.message + caught.value.hint


def test_a_missing_key_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_key("K", environment={})
    assert "openssl rand" in caught.value.hint
    with pytest.raises(ConfigurationError) as caught:
        load_key("K", default=tmp_path / "k", environment={})
    assert "restore" in caught.value.hint, "a new key would fit nothing in a folder that was made with another"
    assert "openssl" not in caught.value.hint
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_key("K", given=tmp_path / "nothing", environment={})


# --- inputs --------------------------------------------------------------------------------------------------------


def test_folders_globs_and_files_are_found_each_file_once(
    tmp_path: Path, make_event: Callable[..., Event], make_file: Callable[..., bytes]
) -> None:
    data = make_file([make_event(1)])
    (tmp_path / "sub").mkdir()
    for name in ("b.avro", "sub/a.avro", "other.txt", ".hidden.avro"):
        (tmp_path / name).write_bytes(data)
    both = [str(tmp_path / "b.avro"), str(tmp_path / "sub" / "a.avro")]
    assert list_inputs([str(tmp_path)]) == both
    assert list_inputs([str(tmp_path), str(tmp_path / "*.avro")]) == [*both]
    assert list_inputs([str(tmp_path / "other.txt")]) == [str(tmp_path / "other.txt")]


@pytest.mark.parametrize(
    ("data", "says"),
    [(None, "no .avro file"), (b"", "is empty"), (b"junk", "not_avro"), ("header", "without a single event")],
)
def test_an_input_without_any_event_is_refused_before_the_run(
    tmp_path: Path, make_file: Callable[..., bytes], data: bytes | str | None, says: str
) -> None:
    if data is not None:
        (tmp_path / "a.avro").write_bytes(make_file([]) if isinstance(data, str) else data)
    with pytest.raises(InputError, match=says):
        list_inputs([str(tmp_path)])
    with pytest.raises(InputError):
        list_inputs([str(tmp_path / "nothing-*.avro")])
    with pytest.raises(InputError):
        list_inputs([])
