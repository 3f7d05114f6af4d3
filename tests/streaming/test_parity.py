"""The same events on other ways give the same tables: the direct runner, Flink, and a stream that takes over.

``python -m benchmarks.parity`` takes more worlds over more ways.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "pipelines"))

from small_model import put_in_force

from benchmarks.golden_journeys import golden
from benchmarks.parity import Setting, Walk, go, measure, told
from benchmarks.parity_model import a_third_in
from benchmarks.parity_worlds import DIRTY, START, ecom, simulated, tangle
from benchmarks.real_data import SHOP_LOG, missing
from benchmarks.redis_server import RedisServer
from contracts.event import MINUTE, SECOND, Event, Identifier
from features.journey_features import named
from features.online_address import address_of, open_online
from pipelines.definitions import load_definitions
from pipelines.flink.job_server import JobServerSettings
from pipelines.plan import read_marks, read_tombstones
from reports.history import history_of_output
from transforms.identity.rules_file import load_rules
from transforms.journey.fold import JourneyFold
from transforms.journey.functions import FUNCTIONS
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


@pytest.mark.parametrize("way", ["by-person", "run-stream"])
def test_flink_gives_the_tables_of_a_bounded_run(
    flink_settings: JobServerSettings, bounded: Walk, events: list[Event], way: str
) -> None:
    verdict = go(bounded, way, events)
    assert verdict.is_equal, told(verdict)


def test_two_tasks_on_flink_give_the_tables_of_a_bounded_run_and_to_redis_what_the_pure_function_gives(
    flink_settings: JobServerSettings,
    bounded: Walk,
    events: list[Event],
    redis_server: RedisServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PARITY_ONLINE_URL", redis_server.url)
    config = tmp_path / "wayline.yaml"
    config.write_text(f"{FEW_SHARDS}features: {{online: {{redis: {{env: PARITY_ONLINE_URL}}}}}}\n", encoding="utf-8")
    setting = replace(bounded.setting, config=config)
    verdict = go(Walk(setting, bounded.name, bounded.totals), "flink-2", events)
    assert verdict.is_equal, told(verdict)

    folder, definitions = OutputFolder(setting.root / "flink-2"), load_definitions(config, None)
    tombstones = read_tombstones(folder)
    marks = read_marks(folder, tombstones)
    history = history_of_output(folder, load_rules(definitions.config.identity), tombstones, marks)
    pure = JourneyFold(definitions.ontology, FUNCTIONS, definitions.config.lateness)
    views = open_views(folder.root, definitions.tables)
    ids = [person for (person,) in fetch(views, "SELECT person_id FROM persons ORDER BY 1")[1]]
    ((horizon,),) = fetch(views, "SELECT max(epoch_us(horizon)) FROM journeys")[1]
    views.close()
    address = address_of(folder.feast)
    assert address.redis is not None
    table = open_online(address)
    for person, row in zip(ids, table.read(ids), strict=True):
        assert (row is None) == (person not in history.persons), person
        if row is not None:
            last = pure.trace(person, history.of(person), horizon).points[-1]
            assert (row.event_time, row.values) == (last.at, named(last.vector))
    table.clear()
    table.close()
    assert len(history.persons) < len(ids), "some were persons and are none"


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
    """Queries the views again and again, and keeps what must not be.

    Each strand of this world is one person's at every moment, and nothing is erased: so what was seen once of a strand
    is seen ever after, an event or a session of its own, and all of it under one person.
    """

    READ: ClassVar = {"events": "event_id", "device_sessions": "device_session_id"}

    def __init__(self, out: Path, config: Path) -> None:
        super().__init__(daemon=True)
        self._out = out
        self._tables = load_definitions(config, None).tables
        self._done = threading.Event()
        self.reads = 0
        self.moved: set[tuple[str, str]] = set()
        self.wrong: list[str] = []

    def run(self) -> None:
        seen: dict[str, dict[str, str]] = {name: {} for name in self.READ}
        while not self._done.wait(0.05):
            for name, rows in self._read():
                owners: defaultdict[str, set[str]] = defaultdict(set)
                for _, strand, person in rows:
                    owners[strand].add(person)
                self.wrong += [f"{name} of {strand} under {sorted(o)}" for strand, o in owners.items() if len(o) > 1]
                now = {key: person for key, _, person in rows}
                self.wrong += [f"{name}: {key} under nobody" for key in seen[name].keys() - now.keys()]
                self.moved |= {(name, key) for key, who in seen[name].items() if now.get(key, who) != who}
                seen[name] = now
                self.reads += bool(rows)

    def _read(self) -> Iterator[tuple[str, list[Any]]]:
        if not OutputFolder(self._out).database.exists():
            # nothing there yet
            time.sleep(0.2)
            return
        connection = open_views(self._out, self._tables)
        try:
            for name, key in self.READ.items():
                yield name, fetch(connection, f"SELECT {key}, strand_id, person_id FROM {name}")[1]
        finally:
            connection.close()

    def stop(self) -> None:
        self._done.set()
        self.join(timeout=60)


def test_a_reader_never_finds_a_strand_under_two_persons_or_none_while_persons_merge(
    flink_settings: JobServerSettings, tmp_path: Path, config: Path
) -> None:
    walk = Walk(Setting(tmp_path, config), "read", [])
    walk.prepare()
    reader = Reader(walk.out, config)
    reader.start()
    try:
        walk.streamed(merging(), rate=5.0, pane=1)  # slowly: a busy machine reads seldom
    finally:
        reader.stop()
    assert not reader.is_alive()
    assert not reader.wrong, reader.wrong[:5]
    assert reader.reads >= 3, "nobody read while the stream ran"
    assert {name for name, _ in reader.moved} == reader.READ.keys(), "nothing moved before the reader's eyes"
