"""Where online vectors are: each folder has a prefix of its own, moves are remembered, and no secret is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from contracts.errors import OutputError
from features.online_address import NOTE, OnlineAddress, OnlinePlace, address_of, note_place, open_online, place_for
from features.online_table import ONLINE_FILE
from transforms.secret import SecretReference

URL = SecretReference(env="A_URL")
OTHER = SecretReference(path="/run/secrets/url")


def file_in(folder: Path) -> OnlineAddress:
    return OnlineAddress(path=folder / ONLINE_FILE)


def settle(folder: Path, redis: SecretReference | None, *, done: bool = True) -> OnlinePlace:
    """As a run does it; ``done``: it came to its end."""
    place = place_for(folder, redis)
    note_place(folder, place)
    if done:
        note_place(folder, OnlinePlace(place.address))
    return place


def test_without_a_server_the_file_serves_and_nothing_is_noted(tmp_path: Path) -> None:
    assert settle(tmp_path, None) == OnlinePlace(file_in(tmp_path))
    assert address_of(tmp_path) == file_in(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_each_folder_draws_a_prefix_and_keeps_it(tmp_path: Path) -> None:
    first, second = (settle(tmp_path / name, URL).address for name in ("a", "b"))
    assert first.prefix != second.prefix
    assert settle(tmp_path / "a", URL) == OnlinePlace(first)
    assert address_of(tmp_path / "a") == first
    assert settle(tmp_path / "a", OTHER).address == OnlineAddress(redis=OTHER, prefix=first.prefix)


def test_a_place_that_was_left_is_remembered_until_a_run_has_come_to_its_end(tmp_path: Path) -> None:
    open_online(file_in(tmp_path)).create()
    moved = settle(tmp_path, URL, done=False)
    assert moved.left == (file_in(tmp_path),)
    assert settle(tmp_path, URL, done=False) == moved, "the next run does it again"
    back = settle(tmp_path, None, done=False)
    assert back == OnlinePlace(file_in(tmp_path), (moved.address,))
    assert settle(tmp_path, None) == back
    assert settle(tmp_path, None) == OnlinePlace(file_in(tmp_path))


def test_a_note_moves_with_its_folder_and_holds_no_path(tmp_path: Path) -> None:
    old = tmp_path / "old"
    settle(old, URL)
    settle(old, None, done=False)
    assert str(tmp_path) not in (old / NOTE).read_text()
    old.rename(tmp_path / "new")
    assert address_of(tmp_path / "new") == file_in(tmp_path / "new")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"redis": {}, "prefix": "", "left": []}', '{"left": 3}'])
def test_a_damaged_note_is_one_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / NOTE).write_text(text)
    for ask in (lambda: address_of(tmp_path), lambda: place_for(tmp_path, URL)):
        with pytest.raises(OutputError, match=NOTE):
            ask()


def test_a_note_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    blocked = tmp_path / "feast"
    blocked.write_text("no folder")
    with pytest.raises(OutputError, match="cannot be"):
        note_place(blocked, OnlinePlace(OnlineAddress(redis=URL, prefix="p")))


def test_an_address_travels_without_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_URL", "redis://:secret@host/0")
    address = OnlineAddress(redis=URL, prefix="p")
    assert "secret" not in repr(address)
    opened = open_online(address)
    os.environ.pop("A_URL")
    opened.close()
