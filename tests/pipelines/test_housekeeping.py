"""Housekeeping beside a stream: what fails for a while is waited out, what fails for good is said at the end."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from run_world import NOON, event, write_events

from contracts.errors import LockedError
from pipelines import housekeeping
from pipelines.definitions import load_definitions
from pipelines.housekeeping import Housekeeper
from pipelines.stream_plan import StreamOptions, make_stream_plan
from transforms.link_stream import GREATEST_EVENT_TIME
from transforms.stores.progress import open_progress
from transforms.tables.identity_sync import IdentitySync
from transforms.tables.output import OutputFolder, writing
from transforms.tables.stream_folder import begin_stream


@contextmanager
def kept_house(tmp_path: Path, warned: list[str] | None = None) -> Iterator[tuple[Housekeeper, OutputFolder]]:
    """Of a stream whose greatest event time is noon."""
    write_events(tmp_path / "in" / "events.avro", [event(1, "page_view", NOON, {"anonymous_id": "a1"})])
    options = StreamOptions(tmp_path / "out", (str(tmp_path / "in"),))
    definitions = load_definitions(None)
    with writing(options.out) as folder:
        plan = make_stream_plan(options, definitions, folder, 1, NOON)
        begin_stream(folder, definitions.tables)
        progress = open_progress(plan.run.stores)
        progress.note(GREATEST_EVENT_TIME, NOON)
        progress.close()
        said = [] if warned is None else warned
        with Housekeeper(folder, definitions, plan, said.append) as house:
            yield house, folder


def failing(monkeypatch: pytest.MonkeyPatch, errors: list[Exception]) -> Callable[[], bool]:
    """The next looks at the identity store fail so; whether all of them have."""
    real = IdentitySync.run

    def run(self: IdentitySync) -> object:
        if errors:
            raise errors.pop(0)
        return real(self)

    monkeypatch.setattr(IdentitySync, "run", run)
    monkeypatch.setattr(housekeeping, "EVERY", 0.02)
    return lambda: not errors


def test_a_store_that_is_away_and_a_full_disk_are_waited_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away: list[Exception] = [LockedError("the store is away"), OSError(errno.ENOSPC, "No space left on device")] * 3
    are_over = failing(monkeypatch, away)
    warned: list[str] = []
    with kept_house(tmp_path, warned) as (house, folder):
        deadline = time.monotonic() + 20
        while not (are_over() and folder.horizon.exists()):
            assert time.monotonic() < deadline, "the thread did not go on"
            time.sleep(0.02)
        house.finish()
    assert {text.split(": ")[0] for text in warned} == {"the tables of identity are not kept up to date for now"}


def test_an_activation_that_cannot_be_followed_is_said_once_and_that_it_is_again(tmp_path: Path) -> None:
    warned: list[str] = []
    with kept_house(tmp_path, warned) as (house, folder):
        pointer = folder.registry / "champion.json"
        pointer.parent.mkdir(exist_ok=True)
        pointer.write_text("{}")
        house.finish()
        house.finish()
        (said,) = warned
        assert said.startswith("an activation is not followed: ")
        assert str(pointer) in said
        pointer.unlink()
        house.finish()
    assert warned[1:] == ["all activations are followed again"]


def test_what_is_wrong_with_the_thread_itself_is_said_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_over = failing(monkeypatch, [ZeroDivisionError("a defect")])
    with kept_house(tmp_path) as (house, _):
        while not is_over():
            time.sleep(0.02)
        with pytest.raises(ZeroDivisionError, match="a defect"):
            house.finish()
