"""``--fill``: what every row leaves out is said once, and never against what a row says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ConfigurationError, UsageError
from pipelines.cli import wayline
from sources.importer.filling import NOTHING, parse_filling
from sources.importer.rows import flatten

ROWS = st.dictionaries(
    st.sampled_from(["at", "who", "a", "page"]),
    st.none() | st.just("") | st.integers() | st.text(min_size=1) | st.dictionaries(st.just("url"), st.text()),
)


@given(ROWS)
def test_what_a_row_says_stays_and_what_it_leaves_out_is_there(row: dict[str, Any]) -> None:
    filled = parse_filling(["at=noon", "page.url=/x"]).row(row)
    said = {path: value for path, value in flatten(row) if value not in (None, "", {})}
    assert said.items() <= dict(flatten(filled)).items()
    assert filled["at"] == (row.get("at") if row.get("at") not in (None, "") else "noon")
    assert NOTHING.row(row) is row


def test_a_value_may_hold_an_equals_sign() -> None:
    assert parse_filling(["q=a=b"]).row({}) == {"q": "a=b"}


@pytest.mark.parametrize("text", ["at", "=noon", "at=", " =x"])
def test_what_is_no_field_and_value_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--fill"):
        parse_filling([text])


def test_a_column_that_is_filled_need_not_be_there(tmp_path: Path) -> None:
    mapping, rows = tmp_path / "m.yaml", tmp_path / "2024-03-01.csv"
    mapping.write_text(
        "name: m\nformat: csv\nevent:\n  name: what\n  event_time: day\n  source: {constant: s}\n"
        "  channel: {constant: store}\n  identifiers: [{namespace: crm_id, field: card}]\n",
        encoding="utf-8",
    )
    rows.write_text("what,card\npurchase,k1\nrefund,\n", encoding="utf-8")
    command = ["import", "--mapping", str(mapping), "--input", str(rows)]
    without = CliRunner().invoke(wayline, [*command, "--check"])
    assert isinstance(without.exception, ConfigurationError)
    assert "'day'" in str(without.exception)
    filled = CliRunner().invoke(wayline, [*command, "--dry-run", "--fill", "day=2024-03-01"])
    assert filled.exit_code == 0, filled.output
    assert "event_time = 2024-03-01T00:00:00Z" in filled.output
    checked = CliRunner().invoke(wayline, [*command, "--check", "--fill", "day=2024-03-01"])
    assert "dead: no_identifier" in checked.output
    assert "--fill FIELD=VALUE" in checked.output
