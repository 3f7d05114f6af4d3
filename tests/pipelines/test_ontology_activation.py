"""``wayline ontology activate``: a version is in force from its date on, history before it stays, records are kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from run_world import DAY, FEW_SHARDS, HOUR, NOON, Row, Runs, event, write_events

from contracts.errors import ConfigurationError
from models.activations import Activations, write_activations
from models.ontology_registry import OntologyRegistry
from pipelines.cli import wayline
from pipelines.config import SHIPPED
from pipelines.definitions import load_definitions
from pipelines.stream_plan import StreamOptions, make_stream_plan
from transforms.journey.ontology import load_ontology
from transforms.tables.output import writing

DEFAULT = SHIPPED / "journey.yaml"
OLD = load_ontology(DEFAULT)
MOVES = (
    """SELECT epoch_us("at"), from_stage, to_stage, evidence ->> 'ontology_version' FROM transitions ORDER BY "at" """
)
MADE = """decision_id, epoch_us("at"), person_id, "trigger", chosen, reason, candidates, features, facts, consent,
    stage, ontology_version"""


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(wayline, ["ontology", *map(str, arguments)])


def write(path: Path, *pairs: tuple[str, str]) -> Path:
    text = DEFAULT.read_text(encoding="utf-8")
    for old, new in pairs:
        assert text.count(old) == 1
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def easy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped ontology, but one look at a product is enough for consideration, and fades in fewer days."""
    return write(
        tmp_path_factory.mktemp("easy") / "easy.yaml",
        ("entry: {intent: 2.0}", "entry: {intent: 0.6}"),
        ("weight: 0.7, half_life: 6d", "weight: 0.7, half_life: 2d"),
    )


def view(number: int, at: int, who: str = "u") -> dict[str, object]:
    return event(number, "product_view", at, {"user_id": who})


def moves(runs: Runs) -> list[Row]:
    return runs.query(MOVES)


def test_a_refold_with_late_events_leaves_what_was_before_the_date(runs: Runs, easy: Path) -> None:
    new = load_ontology(easy)
    runs.run([view(1, NOON), event(2, "home_view", NOON + 2 * DAY, {"user_id": "v"})])
    before = moves(runs)
    assert [row[2:] for row in before] == [("discovery", OLD.version)] * 2
    result = call("activate", easy, "--out", runs.out, "--at", "2025-01-09T12:00Z", "--reason", "a trial")
    date = NOON + 3 * DAY
    assert result.output == f"{new.version}: in force for points from 2025-01-09 12:00:00Z on\n"

    # one of the events is late, and lies before the date; the other comes after it
    late, after = view(3, NOON + DAY), view(4, NOON + 4 * DAY)
    runs.run([late, after])
    found = moves(runs)
    assert [row for row in found if row[0] < date] == before
    assert [row for row in found if row[0] >= date] == [
        (NOON + 4 * DAY, "discovery", "consideration", new.version),
    ]
    assert runs.query("SELECT DISTINCT ontology_version FROM journeys") == [(new.version,)]

    back = call("activate", OLD.version, "--out", runs.out, "--at", "2025-01-11T12:00Z", "--reason", "back")
    assert back.exit_code == 0, back.output
    runs.run([event(5, "home_view", NOON + 6 * DAY, {"user_id": "v"})])
    assert moves(runs)[: len(found)] == found
    assert runs.query("SELECT DISTINCT ontology_version FROM journeys") == [(OLD.version,)]
    listed = json.loads(call("versions", "--out", runs.out, "--json").stdout)["activations"]
    assert [(item["version"], item["active_from"], item["reason"]) for item in listed] == [
        (OLD.version, None, "in force before the first activation"),
        (new.version, "2025-01-09 12:00:00Z", "a trial"),
        (OLD.version, "2025-01-11 12:00:00Z", "back"),
    ]
    assert "from the beginning: default@" in call("versions", "--out", runs.out).output


def test_the_projects_file_is_not_changed_behind_the_activations(runs: Runs, easy: Path, tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.yaml")
    runs.config = tmp_path / "project.yaml"
    runs.config.write_text(f"ontology: {mine}\n{FEW_SHARDS}", encoding="utf-8")
    kept = OntologyRegistry(tmp_path / "registry")
    kept.activate(load_ontology(easy), OLD, active_from=NOON, reason="", now=0)
    write(mine, ("  back: 10m", "  back: 0s"))
    with pytest.raises(ConfigurationError, match="which was never activated"):
        runs.run([view(1, NOON)], registry=kept.root)
    write(mine)
    three = tmp_path / "three.yaml"
    text = DEFAULT.read_text(encoding="utf-8")
    three.write_text(text[: text.index("  - name: consideration")] + text[text.index("  - name: decision") :])
    kept.activate(load_ontology(three), OLD, active_from=NOON, reason="", now=0)
    with pytest.raises(ConfigurationError, match="it has the stages discovery, consideration"):
        runs.run([view(1, NOON)], registry=kept.root)


def test_who_activates_other_stages_is_told_what_the_next_run_will_want(tmp_path: Path) -> None:
    text = DEFAULT.read_text(encoding="utf-8")
    three = tmp_path / "three.yaml"
    three.write_text(text[: text.index("  - name: consideration")] + text[text.index("  - name: decision") :])
    given = ("--out", tmp_path, "--registry", tmp_path / "registry", "--at", "2025-01-09")
    told = call("activate", three, *given).output.splitlines()
    kept = OntologyRegistry(tmp_path / "registry").path_of(load_ontology(three).version)
    assert told[1].startswith("its stages are discovery, decision, customer; those of ")
    assert f"let the project's configuration name {kept} or a file like it" in told[1]
    assert len(call("activate", DEFAULT, *given).output.splitlines()) == 1


def test_a_stream_does_not_go_on_from_what_another_ontology_said_until_all_is_folded_by_its_own(
    runs: Runs, easy: Path, tmp_path: Path
) -> None:
    runs.run([view(1, NOON)])
    runs.config = tmp_path / "project.yaml"
    runs.config.write_text(f"ontology: {easy}\n{FEW_SHARDS}", encoding="utf-8")
    more = write_events(tmp_path / "more" / "events.avro", [view(2, NOON + HOUR)])
    asked = StreamOptions(runs.out, (str(more),), config=runs.config)

    def plan() -> None:
        with writing(runs.out) as folder:
            make_stream_plan(asked, load_definitions(runs.config), folder, 1, NOON)

    said = f"this is version {load_ontology(easy).version}, but the journeys of .* were folded by {OLD.version}"
    with pytest.raises(ConfigurationError, match=said) as caught:
        plan()
    assert "`wayline run --out OUT` folds them by it" in caught.value.hint
    runs.run_files()
    plan()


def test_what_may_not_follow_is_refused_and_leaves_the_records(tmp_path: Path, easy: Path) -> None:
    kept = OntologyRegistry(tmp_path / "registry")
    other = load_ontology(write(tmp_path / "other.yaml", ("  gap: 30m", "  gap: 10m")))
    with pytest.raises(ConfigurationError, match=r"differs from default@\w+ in sessions"):
        kept.activate(other, OLD, active_from=NOON, reason="", now=0)
    assert kept.dated(OLD) is None
    kept.activate(load_ontology(easy), OLD, active_from=NOON, reason="", now=0)
    write_activations(kept.root / "champion.json", Activations().activated("m1", NOON, "", 0))
    text = DEFAULT.read_text(encoding="utf-8").replace("  - name: consideration", "  - name: weighing")
    (tmp_path / "named.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match="model m1, which is in force at some time"):
        kept.activate(load_ontology(tmp_path / "named.yaml"), OLD, active_from=NOON, reason="", now=0)
    assert len(kept.activations().records) == 2


def test_a_kept_text_that_was_touched_is_refused(tmp_path: Path, easy: Path) -> None:
    kept = OntologyRegistry(tmp_path / "registry")
    new = load_ontology(easy)
    kept.activate(new, OLD, active_from=NOON + HOUR, reason="", now=0)
    dated = kept.dated(OLD)
    assert dated is not None
    assert [dated.version_at(at) for at in (NOON, NOON + HOUR - 1, NOON + HOUR)] == [
        OLD.version, OLD.version, new.version,
    ]  # fmt: skip
    kept.path_of(new.version).write_text(DEFAULT.read_text(encoding="utf-8"))
    with pytest.raises(ConfigurationError, match="is not that of version"):
        kept.dated(OLD)


def test_decisions_stay_whatever_policy_comes_and_whatever_is_activated_before_them(
    runs: Runs, easy: Path, tmp_path: Path
) -> None:
    runs.run([view(1, NOON), view(2, NOON + 2 * DAY), event(3, "home_view", NOON + 2 * DAY, {"user_id": "v"})])
    decisions = runs.query(f"SELECT {MADE} FROM decisions ORDER BY decision_id")
    assert len(decisions) >= 4
    shipped = SHIPPED / "policies" / "default.yaml"
    policy = tmp_path / "policy.yaml"
    policy.write_text(shipped.read_text(encoding="utf-8").replace("name: default", "name: another", 1))
    runs.config = tmp_path / "project.yaml"
    runs.config.write_text(f"policies: [{policy}]\n{FEW_SHARDS}", encoding="utf-8")
    call("activate", easy, "--out", runs.out, "--at", "2025-01-05", "--reason", "before all of it")
    late, after = view(4, NOON + DAY), view(5, NOON + 4 * DAY)
    runs.run([late, after])
    assert {row[3] for row in moves(runs)} == {load_ontology(easy).version}, "all moves are others now"
    found = runs.query(f"SELECT {MADE}, policy_version FROM decisions ORDER BY decision_id")
    assert set(decisions) < {row[:-1] for row in found}
    made_since = [row for row in found if row[:-1] not in set(decisions)]
    assert {row[-1].split("@")[0] for row in made_since} == {"another"}
    assert min(row[1] for row in made_since) > NOON + 2 * DAY, "nothing is decided before the last decided moment"
