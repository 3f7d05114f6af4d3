"""An ontology that is activated while a stream runs takes force at its date, also for what was folded beyond it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from benchmarks.parity import Setting, Walk, measure, told, verdict_of
from benchmarks.parity_worlds import CLEAN, simulated
from contracts.event import Event
from models.ontology_registry import OntologyRegistry
from pipelines.config import SHIPPED
from pipelines.definitions import load_definitions
from pipelines.table_sink import DIRECT
from transforms.journey.ontology import load_ontology
from transforms.journey.ontology_file import parse_ontology
from transforms.tables.output import OutputFolder
from transforms.tables.views import fetch, open_views

FEW_SHARDS = "shards: {strand: 2, journey: 2}\n"


class Streaming(threading.Thread):
    """A stream that runs beside the test."""

    def __init__(self, walk: Walk, events: list[Event]) -> None:
        super().__init__(daemon=True)
        self._walk = walk
        self._events = events
        self.failed: BaseException | None = None

    def run(self) -> None:
        try:
            self._walk.streamed(self._events, runner=DIRECT, pane=1)
        except BaseException as error:
            self.failed = error
            raise

    def await_true(self, query: str) -> None:
        """Until the tables of OUT answer a query with true; the stream has to run on meanwhile."""
        tables = load_definitions(self._walk.setting.config, None).tables
        while True:
            assert self.failed is None, self.failed
            assert self.is_alive(), f"the stream ended before {query}"
            if OutputFolder(self._walk.out).database.exists():
                views = open_views(self._walk.out, tables)
                try:
                    if fetch(views, query)[1][0][0]:
                        return
                finally:
                    views.close()
            time.sleep(0.2)


@pytest.mark.timeout(180)
def test_what_is_activated_while_a_stream_runs_gives_the_tables_of_a_bounded_run(tmp_path: Path) -> None:
    config = tmp_path / "wayline.yaml"
    config.write_text(FEW_SHARDS, encoding="utf-8")
    events = simulated(10, 8, 34, CLEAN)
    times = sorted(event.event_time for event in events)
    given = load_ontology(SHIPPED / "journey.yaml")
    easy = parse_ontology(given.source.replace("entry: {intent: 2.0}", "entry: {intent: 0.6}"), "easy.yaml")
    slow = parse_ontology(given.source.replace("back: 10m", "back: 30m"), "slow.yaml")
    registry = OntologyRegistry(tmp_path / "registry")
    setting = Setting(tmp_path, config, registry.root)

    walk = Walk(setting, "live", [])
    walk.prepare()
    streaming = Streaming(walk, events)
    streaming.start()
    early, late = times[len(times) // 8], times[len(times) * 5 // 6]
    streaming.await_true(f'SELECT count(*) > 0 FROM transitions WHERE epoch_us("at") > {early}')
    registry.activate(easy, given, active_from=early, reason="while it runs", now=early)
    registry.activate(slow, given, active_from=late, reason="ahead", now=early)
    streaming.join()
    assert streaming.failed is None

    verdict = verdict_of(measure(setting, events), walk)
    assert verdict.is_equal, told(verdict)
    views = open_views(walk.out, load_definitions(config, None).tables)
    try:
        query = f"""SELECT DISTINCT "at" >= make_timestamptz({early}), "at" >= make_timestamptz({late}),
            evidence ->> 'ontology_version' FROM transitions"""
        found = {(beyond, far): version for beyond, far, version in fetch(views, query)[1]}
    finally:
        views.close()
    assert found == {(False, False): given.version, (True, False): easy.version, (True, True): slow.version}
