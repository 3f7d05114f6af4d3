"""A query of ours in GoogleSQL: what is rewritten, and what is refused."""

from __future__ import annotations

import pytest

from reports.googlesql import googlesql, undocumented


def _one_line(sql: str) -> str:
    return " ".join(googlesql(sql, {"events"}, "wayline").split())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("CAST(at_time AT TIME ZONE 'UTC' AS DATE)", "DATE(`at_time`, 'UTC')"),
        ("date_trunc('week', day)", "DATE_TRUNC(`day`, WEEK(MONDAY))"),
        ("date_trunc('month', day)", "DATE_TRUNC(`day`, MONTH)"),
        ("epoch_us(at_time)", "UNIX_MICROS(`at_time`)"),
        ("at_time - INTERVAL 720 HOUR", "TIMESTAMP_SUB(`at_time`, INTERVAL 720 HOUR)"),
        ("date_diff('day', a, b)", "DATE_DIFF(`b`, `a`, DAY)"),
        ("a / nullif(b, 0)", "`a` / NULLIF(`b`, 0)"),
        ("row_number() OVER (PARTITION BY a ORDER BY b)", "ROW_NUMBER() OVER (PARTITION BY `a` ORDER BY `b`)"),
        ("sum(a) OVER (ORDER BY b)", "SUM(`a`) OVER (ORDER BY `b`)"),
        ("CAST(a AS BIGINT)", "CAST(`a` AS INT64)"),
        ("CAST(a AS TIMESTAMPTZ)", "CAST(`a` AS TIMESTAMP)"),
    ],
)
def test_an_expression_has_the_form_that_bigquery_documents(ours: str, theirs: str) -> None:
    assert _one_line(f"SELECT {ours} AS x FROM events") == f"SELECT {theirs} AS `x` FROM `wayline`.`events`"


def test_names_are_quoted_and_parts_of_the_query_stay_out_of_the_dataset() -> None:
    made = _one_line('WITH own AS (SELECT e."at" FROM events AS e) SELECT "at" FROM own')
    assert made == "WITH `own` AS ( SELECT `e`.`at` FROM `wayline`.`events` AS `e` ) SELECT `at` FROM `own`"


def test_a_union_says_that_it_is_distinct() -> None:
    assert "UNION DISTINCT" in _one_line("SELECT 1 FROM events UNION SELECT 2 FROM events")


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SELECT median(a) FROM events", "no GoogleSQL|does not document"),
        ("SELECT levenshtein(a, b) FROM events", "EDIT_DISTANCE"),
        ("SELECT no_such_function(a) FROM events", "NO_SUCH_FUNCTION"),
        ("SELECT date_trunc('year', a) FROM events", r"DATE_TRUNC\(name, YEAR\)"),
        ("SELECT a - INTERVAL 30 DAY FROM events", "zone of the session"),
        ("SELECT CAST(a AT TIME ZONE 'Europe/Paris' AS DATE) FROM events", "'Europe/Paris'"),
        ("SELECT CAST(a AS HUGEINT) FROM events", "CAST"),
        # the way back from GoogleSQL takes Sunday for 0
        ("SELECT isodow(a) FROM events", "EXTRACT"),
        ("SELECT 1 FROM elsewhere", "elsewhere is neither"),
        ("WITH events AS (SELECT 1) SELECT * FROM events", "name both"),
        ("SELECT * FROM events USING SAMPLE 10", "no GoogleSQL|does not document"),
        ("SELECT (a FROM events", "no GoogleSQL"),
    ],
)
def test_what_bigquery_does_not_document_or_we_do_not_have_is_refused(sql: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        googlesql(sql, {"events"}, "wayline")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SELECT UNIX_MICROS(`a`) FROM `t`", []),
        ("SELECT EPOCH_US(`a`) FROM `t`", ["EPOCH_US"]),
        ("SELECT UNIX_MICROS(`a`, `b`) FROM `t`", ["UNIX_MICROS(name, name)"]),
        ("SELECT DATE_DIFF(DAY, `a`, `b`) FROM `t`", ["DATE_DIFF(DAY, name, name)"]),
        ("SELECT DATE_TRUNC(`a`, WEEK) FROM `t`", ["DATE_TRUNC(name, WEEK)"]),
        ("SELECT TIMESTAMP(`a`) FROM `t`", ["TIMESTAMP"]),
        ("SELECT a FROM `t`", ["A"]),
        ("SELECT 'EPOCH_US(1)' FROM `t`", []),
        ("SELECT COUNT(*), COUNT(DISTINCT `a`) FROM `t`", []),
        ("SELECT SUM(MAX(`a`, `b`)) FROM `t`", ["MAX(name, name)"]),
        ("SELECT * FROM `t` ORDER BY `a` NULLS LAST", ["NULLS", "LAST"]),
    ],
)
def test_words_and_forms_of_calls_are_held_against_the_reference(text: str, found: list[str]) -> None:
    assert undocumented(text) == found
