"""What an output folder decided is made again from its records, and what does not follow from them is found."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))

from test_table_diff import edit

from contracts.errors import CheckFailedError
from pipelines.cli import wayline
from pipelines.definitions import Definitions
from reports.record_replays import replay_records
from reports.table_overview import query


@pytest.fixture
def other(tiny_out: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    copy = tmp_path / "other"
    shutil.copytree(tiny_out, copy)
    return copy


def test_all_that_was_decided_follows_from_its_records(tiny_out: Path, definitions: Definitions) -> None:
    found = replay_records(tiny_out, definitions.tables, definitions.policies)
    names = ("decisions", "actions", "labels")
    counts = [query(tiny_out, definitions.tables, f"SELECT count(*) FROM {name}")[1][0][0] for name in names]
    assert [found.decisions, found.actions, found.labels] == counts
    assert (min(counts) > 0, found.impossible, found.wrong) == (True, 0, ())


@pytest.mark.parametrize(
    ("table", "change", "said"),
    [
        ("decisions", "SELECT * REPLACE ('nobody' AS chosen) FROM parts", "decision"),
        ("decisions", "FROM parts WHERE false", "no decision"),
        ("actions", "SELECT * REPLACE ('letter' AS template) FROM parts", "template is letter"),
        ("actions", "SELECT * REPLACE ('x' || action_id AS action_id) FROM parts", "action_id is x"),
        ("labels", "SELECT * REPLACE (0.25 AS propensity) FROM parts", "propensity is 0.25"),
        ("labels", 'SELECT * REPLACE (decided_at - INTERVAL 1 DAY AS "at") FROM parts', "is not between"),
    ],
)
def test_what_does_not_follow_is_told(
    other: Path, definitions: Definitions, table: str, change: str, said: str
) -> None:
    edit(other, table, change)
    found = replay_records(other, definitions.tables, definitions.policies)
    assert any(said in told for told in found.wrong), found


def test_a_diff_of_folders_with_equal_tables_fails_for_a_decision_that_does_not_follow(
    tiny_out: Path, other: Path
) -> None:
    same = CliRunner().invoke(wayline, ["diff", str(tiny_out), str(tiny_out)])
    assert same.exit_code == 0, same.output
    assert "0 wrong" in same.output
    edit(other, "actions", "SELECT * REPLACE ('letter' AS template) FROM parts")
    result = CliRunner().invoke(wayline, ["diff", str(tiny_out), str(other)])
    assert isinstance(result.exception, CheckFailedError)
    assert "do not follow from their records" in result.exception.message
