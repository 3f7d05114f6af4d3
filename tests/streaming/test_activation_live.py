"""An ontology that is activated while a stream runs takes force at its date, also for what was folded beyond it, and
also when it has other stages than the one that the stream began with."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from benchmarks.parity import Setting, Walk, halves, measure, told, verdict_of
from benchmarks.parity_worlds import CLEAN, simulated
from contracts.event import Event
from models.ontology_registry import OntologyRegistry
from pipelines.config import SHIPPED
from pipelines.definitions import load_definitions
from pipelines.table_sink import DIRECT
from transforms.journey.ontology import Ontology, load_ontology
from transforms.journey.ontology_file import parse_ontology
from transforms.tables.output import OutputFolder
from transforms.tables.views import fetch, open_views

CONFIG = "shards: {strand: 2, journey: 2}\npolicies: [policy.yaml]\n"


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


@dataclass(frozen=True)
class Trial:
    """Events, what is activated when, and the bounded run that every way is compared with.

    ``config`` names the ontology of before, ``later`` the one that is in force in the end.
    """

    events: list[Event]
    early: int
    late: int
    easy: Ontology
    slow: Ontology
    given: Ontology
    config: Path
    later: Path
    measured: Walk

    def activate(self, root: Path) -> None:
        """One for what was folded already, and one ahead."""
        registry = OntologyRegistry(root)
        registry.activate(self.easy, self.given, active_from=self.early, reason="for the past", now=self.early)
        registry.activate(self.slow, self.given, active_from=self.late, reason="ahead", now=self.early)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    root = tmp_path_factory.mktemp("activated")
    config, later = root / "wayline.yaml", root / "later.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    later.write_text(f"{CONFIG}ontology: slow.yaml\n", encoding="utf-8")
    # what names no stage that ceases
    policies = (SHIPPED / "policies" / "default.yaml").read_text(encoding="utf-8")
    (root / "policy.yaml").write_text(policies[: policies.index("  # --- consideration")], encoding="utf-8")
    events = simulated(10, 8, 34, CLEAN)
    times = sorted(event.event_time for event in events)
    given = load_ontology(SHIPPED / "journey.yaml")
    easy = parse_ontology(given.source.replace("entry: {intent: 2.0}", "entry: {intent: 0.6}"), "easy.yaml")
    text = given.source.replace("back: 10m", "back: 30m")
    slow = parse_ontology(text[: text.index("  - name: consider")] + text[text.index("  - name: decision") :], "slow")
    (root / "slow.yaml").write_text(slow.source, encoding="utf-8")
    early, late = times[len(times) // 8], times[len(times) * 5 // 6]
    walk = Walk(Setting(root, later, root / "registry"), "bounded", [])
    made = Trial(events, early, late, easy, slow, given, config, later, walk)
    made.activate(root / "registry")
    return replace(made, measured=measure(walk.setting, events))


def compared(trial: Trial, walk: Walk) -> None:
    verdict = verdict_of(trial.measured, walk)
    assert verdict.is_equal, told(verdict)
    views = open_views(walk.out, load_definitions(trial.later, None).tables)
    try:
        query = f"""SELECT DISTINCT "at" >= make_timestamptz({trial.early}), "at" >= make_timestamptz({trial.late}),
            evidence ->> 'ontology_version' FROM transitions"""
        found = {(beyond, far): version for beyond, far, version in fetch(views, query)[1]}
        ended = fetch(
            views,
            f"""SELECT "at" = make_timestamptz({trial.late}), to_stage <> 'consideration', count(*)
            FROM transitions WHERE from_stage = 'consideration' AND "at" >= make_timestamptz({trial.late})
            GROUP BY ALL""",
        )[1]
    finally:
        views.close()
    assert found == {
        (False, False): trial.given.version,
        (True, False): trial.easy.version,
        (True, True): trial.slow.version,
    }
    (row,) = ended
    assert row[:2] == (True, True), (
        "who was in the stage that is no more left it at the date, and nobody entered it since"
    )


@pytest.mark.timeout(180)
def test_what_is_activated_while_a_stream_runs_gives_the_tables_of_a_bounded_run(trial: Trial, tmp_path: Path) -> None:
    walk = Walk(Setting(tmp_path, trial.config, tmp_path / "registry"), "live", [])
    walk.prepare()
    streaming = Streaming(walk, trial.events)
    streaming.start()
    streaming.await_true(f'SELECT count(*) > 0 FROM transitions WHERE epoch_us("at") > {trial.early}')
    trial.activate(tmp_path / "registry")
    streaming.join()
    assert streaming.failed is None
    compared(trial, walk)


@pytest.mark.timeout(180)
def test_a_stream_folds_again_what_a_run_before_it_had_folded_by_less(trial: Trial, tmp_path: Path) -> None:
    walk = Walk(Setting(tmp_path, trial.config, tmp_path / "registry"), "after", [])
    walk.prepare()
    first, second = halves(trial.events)
    walk.bounded(first)
    trial.activate(tmp_path / "registry")
    walk.setting = replace(walk.setting, config=trial.later)
    walk.streamed(second, runner=DIRECT, pane=1)
    compared(trial, walk)
