"""The same events on other ways give the same tables: the direct runner, Flink, and a stream that takes over.

``python -m benchmarks.parity`` takes more worlds over more ways.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "pipelines"))

from small_model import put_in_force

from benchmarks.golden_journeys import golden
from benchmarks.parity import Setting, Walk, go, measure, told
from benchmarks.parity_model import a_third_in
from benchmarks.parity_worlds import DIRTY, START, ecom, simulated, tangle
from benchmarks.real_data import SHOP_LOG, missing
from contracts.event import MINUTE, SECOND, Event, Identifier
from pipelines.definitions import load_definitions
from pipelines.flink.job_server import JobServerSettings
from transforms.tables.output import OutputFolder
from transforms.tables.views import fetch, open_views

FEW_SHARDS = "shards: {strand: 2, journey: 2}\n"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped definitions with few shards."""
    path = tmp_path_factory.mktemp("config") / "wayline.yaml"
    path.write_text(FEW_SHARDS, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def events() -> list[Event]:
    """Merges, splits and erasures by request, late, expired, repeated and conflicting events."""
    return tangle(1, 120)


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory, config: Path, events: list[Event]) -> Walk:
    """What every way is compared with."""
    return measure(Setting(tmp_path_factory.mktemp("parity"), config), events)


def test_the_world_has_what_it_is_for(bounded: Walk) -> None:
    (total,) = bounded.totals
    counts = (total.accepted, total.duplicate, total.dead_lettered, total.expired_late, total.erased)
    assert all(counts), counts


def test_the_direct_runner_gives_the_tables_of_a_bounded_run(bounded: Walk, events: list[Event]) -> None:
    verdict = go(bounded, "direct", events)
    assert verdict.is_equal, told(verdict)


@pytest.mark.parametrize("way", ["flink-2", "by-person", "run-stream"])
def test_flink_gives_the_tables_of_a_bounded_run(
    flink_settings: JobServerSettings, bounded: Walk, events: list[Event], way: str
) -> None:
    verdict = go(bounded, way, events)
    assert verdict.is_equal, told(verdict)


@pytest.mark.parametrize("world", ["golden", "ecom"])
def test_golden_journeys_and_a_slice_of_a_shop_are_the_same_on_the_direct_runner(
    tmp_path: Path, config: Path, world: str
) -> None:
    events = golden(START) if world == "golden" else ecom(150)
    if not events:
        pytest.skip(missing(SHOP_LOG) or "the shop's log holds nothing")
    verdict = go(measure(Setting(tmp_path, config), events), "direct", events)
    assert verdict.is_equal, told(verdict)
    assert verdict.replays.decisions > 20, "every decision was made again from its record"


def test_a_model_that_comes_into_force_on_the_way_scores_the_same_in_a_stream(tmp_path: Path, config: Path) -> None:
    events = simulated(8, 8, 34, DIRTY)
    put_in_force(tmp_path / "registry", load_definitions(config).ontology, a_third_in(events))
    measured = measure(Setting(tmp_path, config, tmp_path / "registry"), events)
    verdict = go(measured, "direct", events)
    assert verdict.is_equal, told(verdict)
    views = open_views(measured.out, load_definitions(config).tables)
    (scored, points), *_ = fetch(views, "SELECT (SELECT count(*) FROM scores), (SELECT count(*) FROM features)")[1]
    views.close()
    assert 0 < scored < points, "the model scores from a third of the events on"


# --- a reader while persons merge --------------------------------------------------------------------------------


def merging() -> list[Event]:
    """Each of some devices has a history, then logs in as one of few users: their strands move, several times."""
    found: list[Event] = []
    at = START

    def add(name: str, ids: dict[str, str]) -> None:
        nonlocal at
        at += 2 * MINUTE
        identifiers = tuple(Identifier(*one) for one in sorted(ids.items()))
        found.append(Event(f"m{len(found):04d}", name, at, at + SECOND, "web", "web", identifiers))

    for device in range(8):
        for name in ("home_view", "product_view", "search"):
            add(name, {"anonymous_id": f"a{device}"})
    for user in range(4):
        for device in (2 * user, 2 * user + 1):
            for _ in range(5):
                add("home_view", {"anonymous_id": f"a{device}"})
            add("login", {"anonymous_id": f"a{device}", "user_id": f"u{user}"})
    for user in range(3):
        add("login", {"user_id": f"u{user}", "crm_id": f"c{user}"})
        add("identity_merge", {"user_id": f"u{user}", "email": "one@example.org"})
        for device in range(8):
            add("pricing_view", {"anonymous_id": f"a{device}"})
    return found


class Reader(threading.Thread):
    """Queries the views again and again, and keeps what must not be."""

    def __init__(self, out: Path, config: Path) -> None:
        super().__init__(daemon=True)
        self._out = out
        self._tables = load_definitions(config, None).tables
        self._done = threading.Event()
        self.reads = self.persons = 0
        self.moved: set[str] = set()
        self.wrong: list[str] = []

    def run(self) -> None:
        seen: dict[str, str] = {}
        while not self._done.wait(0.05):
            for rows in self._read():
                owners: dict[str, set[str]] = {}
                for event_id, person in rows:
                    owners.setdefault(event_id, set()).add(person)
                self.wrong += [f"{event_id} under {sorted(who)}" for event_id, who in owners.items() if len(who) > 1]
                self.wrong += [f"{event_id} under nobody" for event_id in seen.keys() - owners.keys()]
                now = {event_id: min(who) for event_id, who in owners.items()}
                self.moved |= {event_id for event_id, who in seen.items() if now.get(event_id, who) != who}
                seen = now
                self.reads += bool(rows)

    def _read(self) -> Iterator[list[Any]]:
        if not OutputFolder(self._out).database.exists():
            # nothing there yet
            time.sleep(0.2)
            return
        connection = open_views(self._out, self._tables)
        try:
            yield fetch(connection, "SELECT event_id, person_id FROM events")[1]
        finally:
            connection.close()

    def stop(self) -> None:
        self._done.set()
        self.join(timeout=60)


def test_a_reader_never_finds_an_event_under_two_persons_or_none_while_persons_merge(
    flink_settings: JobServerSettings, tmp_path: Path, config: Path
) -> None:
    walk = Walk(Setting(tmp_path, config), "read", [])
    walk.prepare()
    reader = Reader(walk.out, config)
    reader.start()
    try:
        walk.streamed(merging(), rate=12.0, pane=1)
    finally:
        reader.stop()
    assert not reader.is_alive()
    assert not reader.wrong, reader.wrong[:5]
    assert reader.reads >= 3, "nobody read while the stream ran"
    assert reader.moved, "no event moved before the reader's eyes"
