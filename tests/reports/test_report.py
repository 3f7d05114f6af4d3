"""The report: one page of every section, that needs nothing else, names nobody, and says what there is not."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import duckdb
import msgspec
import pytest
from click.testing import CliRunner

from contracts.event import DAY
from models.activations import Activation, Activations, write_activations
from models.bundle import Manifest, Smoke
from models.dataset import StageDefinitions
from models.evaluation import Bin, Metrics, calibration_curve, calibration_error
from models.registry import ModelRegistry
from pipelines.cli import wayline
from pipelines.definitions import Definitions
from pipelines.run import run
from pipelines.run_options import RunOptions
from reports.model_quality import ModelQuality, model_quality
from reports.page.charts import calibration, spans, wilson
from reports.page.model_section import model_html
from reports.page.sections import report_sections, sections
from sources.simulator.config import WorldConfig
from sources.simulator.world import simulate
from transforms.tables.views import open_views

STAGES = ("looking", "buying")
DEFINITIONS = StageDefinitions(STAGES, {"buying": frozenset({"bought"})}, "v1")
METRICS = Metrics(
    40, 0.7, 0.6, 0.5, 0.05, 0.04, 0.6, 0.9, {"looking": 0.8, "buying": 0.6}, {"looking": 25, "buying": 15}
)
MANIFEST = Manifest(
    version="stage-test",
    sha256="0" * 64,
    algorithm="trees",
    stages=STAGES,
    features=(),
    feature_version="1",
    feature_declaration="",
    feature_service="",
    ontology_version="v1",
    window=DAY,
    trained_until=10 * DAY,
    horizon=10 * DAY,
    rows={"train": 100},
    libraries={},
    metrics=replace(METRICS, curve=(Bin(0.8, 0.75, 40),)),
    champion=None,
    labels={},
    smoke=Smoke((), ()),
)


def _report(out: Path, *more: str) -> str:
    done = CliRunner().invoke(wayline, ["report", "--out", str(out), *more], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return (out / "report.html").read_text(encoding="utf-8")


def _registry(root: Path, manifest: Manifest) -> Path:
    registry = ModelRegistry(root / "registry")
    bundle = registry.bundles / manifest.version
    bundle.mkdir(parents=True)
    (bundle / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    write_activations(registry.pointer, Activations((Activation(manifest.version, 0, "test", 0),)))
    return registry.root


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("one")
    simulate(WorldConfig(customers=1, days=2, seed=3), root)
    return root / "events"


@pytest.fixture(scope="module")
def whole(tiny_out: Path) -> str:
    return _report(tiny_out)


def test_the_report_shows_every_section_and_nothing_is_left_to_be_counted(whole: str, definitions: Definitions) -> None:
    for one in report_sections(definitions.tables, str):
        assert f'<section id="{one.name}"' in whole
        assert f'href="#{one.name}"' in whole
    assert "aria-busy" not in whole


def test_the_report_shows_what_the_board_shows(tiny_out: Path, whole: str, definitions: Definitions) -> None:
    connection = open_views(tiny_out, definitions.tables)
    for one in sections(definitions.tables):
        if one.name != "decisions":  # the board's ends with links to stories
            assert one.make(connection) in whole
    connection.close()


def test_the_report_asks_for_nothing_and_names_nobody(whole: str, tiny_out: Path, definitions: Definitions) -> None:
    assert "<script" not in whole
    assert not re.search(r'(?:src|href)="(?!#|data:,)', whole)
    assert "url(" not in whole
    connection = open_views(tiny_out, definitions.tables)
    ids = connection.execute(
        "SELECT person_id FROM journeys UNION ALL SELECT decision_id FROM decisions "
        "UNION ALL SELECT value FROM identifiers"
    ).fetchall()
    connection.close()
    assert ids
    assert not [one for (one,) in ids if one in whole]


def test_the_same_tables_give_the_same_page(whole: str, tiny_out: Path) -> None:
    assert _report(tiny_out) == whole


def test_a_page_goes_where_it_is_told(tiny_out: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    _report(tiny_out, "--to", str(target))
    assert target.read_text(encoding="utf-8").startswith("<!doctype html>")
    done = CliRunner().invoke(wayline, ["report", "--out", str(tiny_out), "--to", str(tmp_path / "no" / "page.html")])
    assert "cannot be written" in str(done.exception)


def test_a_folder_without_a_model_says_so(whole: str) -> None:
    assert "No model is in force: rules alone decide." in whole


def test_a_single_person_is_told_as_one(world: Path, tmp_path: Path, definitions: Definitions) -> None:
    out = tmp_path / "out"
    run(RunOptions((str(world),), out), definitions=definitions)
    whole = _report(out)
    assert "1 person; " in whole
    assert "1 people" not in whole


def test_a_run_that_accepted_nothing_says_so_in_every_section(
    world: Path, tmp_path: Path, definitions: Definitions
) -> None:
    out = tmp_path / "out"
    run(RunOptions((str(world),), out, as_of=DAY * 365 * 40), definitions=definitions)
    whole = _report(out)
    for said in (
        "no event yet",
        "Nobody is in any stage yet.",
        "No stage was entered yet.",
        "There was no session yet.",
        "There is no journey yet.",
        "Nobody is known yet.",
        "No decision was made yet.",
        "No model is in force",
        "There are no dead letters.",
    ):
        assert said in whole, said


def test_an_empty_folder_gives_a_page_that_says_so_and_can_still_be_run_into(
    world: Path, tmp_path: Path, definitions: Definitions
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert "no run has written to this folder yet" in _report(out)
    assert "no run has written to this folder yet" in _report(out)
    run(RunOptions((str(world),), out), definitions=definitions)
    assert "In brief" in _report(out)


def test_what_is_no_output_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("x")
    for folder in (tmp_path, tmp_path / "missing"):
        done = CliRunner().invoke(wayline, ["report", "--out", str(folder)])
        assert "is no Wayline output folder" in str(done.exception)


# --- the model ------------------------------------------------------------------------------------------------------


def test_only_points_after_the_training_with_a_known_outcome_are_counted(tmp_path: Path) -> None:
    connection = duckdb.connect()
    connection.execute(
        'CREATE TABLE scores (person_id VARCHAR, "at" TIMESTAMPTZ, model_version VARCHAR, p_looking DOUBLE, '
        "p_buying DOUBLE)"
    )
    connection.execute('CREATE TABLE features (person_id VARCHAR, "at" TIMESTAMPTZ, created TIMESTAMPTZ)')
    connection.execute("CREATE TABLE events (person_id VARCHAR, event_time TIMESTAMPTZ, behaviours VARCHAR)")
    connection.execute("CREATE TABLE journeys (horizon TIMESTAMPTZ)")
    connection.execute("INSERT INTO journeys VALUES (make_timestamptz(?))", [20 * DAY])
    # day of the point, day it was first known, buying said; the person looks on days 11.5 and 13.5, buys on 12.5
    points = [
        (9, 9, 0.9, "stage-test"),  # the training saw it
        (11, 11, 0.8, "stage-test"),  # said buying: it did not happen within a day
        (12, 12, 0.9, "stage-test"),  # said buying: it did
        (13, 13, 0.2, "stage-test"),  # said looking: right
        (12, 19.5, 0.9, "stage-test"),  # first known so late that its outcome is not known yet
        (14, 14, 0.9, "another"),
        (16, 16, 0.9, "stage-test"),  # silence tells nothing
    ]
    for place, (at, known, buying, version) in enumerate(points):
        times = [round(at * DAY) + place, round(known * DAY) + place]
        connection.execute(
            "INSERT INTO scores VALUES ('p', make_timestamptz(?), ?, ?, ?)", [times[0], version, 1 - buying, buying]
        )
        connection.execute("INSERT INTO features VALUES ('p', make_timestamptz(?), make_timestamptz(?))", times)
    for day, behaviours in ((11.5, ["looked"]), (12.5, ["looked", "bought"]), (13.5, ["looked"])):
        row = [round(day * DAY), json.dumps(behaviours)]
        connection.execute("INSERT INTO events VALUES ('p', make_timestamptz(?), ?)", row)
    found = model_quality(connection, _registry(tmp_path, MANIFEST), DEFINITIONS)
    assert (found.scored, found.known) == (6, 3)
    assert found.accuracy == pytest.approx(2 / 3)
    assert [(round(one.said, 2), one.happened, one.rows) for one in found.curve] == [(0.8, 0.5, 2), (0.9, 1.0, 1)]
    buying = found.stages[1]
    assert (buying.said, buying.happened) == (pytest.approx(1.9 / 3), pytest.approx(1 / 3))
    shown = model_html(found, ())
    assert "66.7%" in shown
    assert "test rows of its training, 40" in shown
    assert "scored since, 3 points" in shown


def test_a_model_of_other_stages_is_not_held_against_those_in_force(tmp_path: Path) -> None:
    registry = _registry(tmp_path, MANIFEST)
    found = model_quality(duckdb.connect(), registry, replace(DEFINITIONS, stages=("a", "b"), defining={}))
    assert "other stages than those in force" in model_html(found, ())


def test_models_that_wait_and_curves_that_are_not_there_are_said() -> None:
    assert "2 models in the registry wait" in model_html(ModelQuality(None, 2), ())
    bare = replace(MANIFEST, metrics=METRICS)
    assert "no calibration curve yet" in model_html(ModelQuality(bare, 1), ())
    assert "It does not pass: " in model_html(ModelQuality(replace(MANIFEST, metrics=replace(METRICS, ece=0.9)), 1), ())


def test_a_manifest_of_before_the_curve_was_kept_is_read() -> None:
    plain = msgspec.json.decode(msgspec.json.encode(MANIFEST))
    del plain["metrics"]["curve"]
    assert msgspec.convert(plain, Manifest).metrics == METRICS
    assert msgspec.json.decode(msgspec.json.encode(MANIFEST), type=Manifest) == MANIFEST


def test_the_curve_tells_the_calibration_error() -> None:
    import numpy as np

    said, target = np.tile([0.75, 0.25], (8, 1)), np.array([0, 0, 0, 0, 0, 1, 1, 1])
    assert calibration_curve(said, target) == (Bin(0.75, 0.625, 8),)
    assert calibration_error(said, target) == pytest.approx(0.125)


# --- charts ---------------------------------------------------------------------------------------------------------


def test_wilson_holds_the_share_and_narrows_with_rows() -> None:
    for share in (0.0, 0.3, 1.0):
        low, high = wilson(share, 10)
        assert 0 <= low <= share <= high <= 1
        tighter = wilson(share, 1000)
        assert tighter[1] - tighter[0] < high - low
    assert wilson(0.5, 100) == (pytest.approx(0.404, abs=0.001), pytest.approx(0.596, abs=0.001))


def test_a_point_on_the_diagonal_is_drawn_on_it() -> None:
    drawn = calibration("c", [("all", [(0.5, 0.5, 100)])])
    assert 'cx="173.0" cy="135.0"' in drawn
    assert 'd="M48.0 260.0L298.0 10.0"' in drawn


def test_spans_keep_their_order_on_the_scale() -> None:
    drawn = spans("s", [("a", 60.0, 3600.0, 86_400.0, "words"), ("b", 0.0, 0.0, 0.0, "at once")])
    bar = [float(x) for x in re.findall(r'class="(?:bar|middle)" x="([\d.-]+)"', drawn)]
    assert bar[0] < bar[1]
    assert min(bar) >= 0
    assert spans("none", [])
