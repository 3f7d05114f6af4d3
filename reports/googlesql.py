"""SQL of a view or macro, DuckDB's, as GoogleSQL for BigQuery: one definition, two engines.

Input: a query in the words that our views use. Output: the same query in GoogleSQL, every name quoted and every table
and view under its dataset. What the transpiler would get wrong is rewritten in the tree first: days of UTC, weeks that
begin on Monday, spans of time, series of days, the place of nulls. Errors: ``ValueError`` for a query that has no such
form, among them every word and every form of a call that is not in ``WORDS`` and ``CALLS``, so that none goes out which
BigQuery does not document. State: none. No Beam, and nothing is asked of BigQuery.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import TokenType


def googlesql(sql: str, relations: Collection[str], dataset: str) -> str:
    """A query of ours in GoogleSQL.

    Args:
        sql: DuckDB's.
        relations: names of the tables and views that are in the dataset.
        dataset: its name.

    Raises:
        ValueError: the query reads what is not among them, or has no form that BigQuery documents.
    """
    try:
        tree = sqlglot.parse_one(sql, read="duckdb")
        named = _qualified(_rewritten(tree), relations, dataset)
        text = named.sql("bigquery", identify=True, pretty=True, unsupported_level=sqlglot.ErrorLevel.RAISE)
    except SqlglotError as error:
        raise ValueError(f"no GoogleSQL for {sql.strip()[:80]!r}: {error}") from error
    if problems := undocumented(text):
        raise ValueError(f"BigQuery does not document {'; '.join(problems)}, in {text}")
    return text


def _qualified(tree: exp.Expr, relations: Collection[str], dataset: str) -> exp.Expr:
    own = {cte.alias for cte in tree.find_all(exp.CTE)}
    if shadowed := own.intersection(relations):
        raise ValueError(f"{sorted(shadowed)} name both a part of the query and a table or view")
    for table in tree.find_all(exp.Table):
        if table.name in own:
            continue
        if table.name not in relations:
            raise ValueError(f"{table.name} is neither a table nor a view")
        table.set("db", exp.to_identifier(dataset))
    return tree


def _rewritten(tree: exp.Expr) -> exp.Expr:
    for rewrite in (_day, _week, _micros, _earlier, _series, _nulls):
        tree = tree.transform(rewrite)
    return tree


def _day(node: exp.Expr) -> exp.Expr:
    """``CAST(t AT TIME ZONE 'UTC' AS DATE)``: the date of an instant in a zone is one call there."""
    if isinstance(node, exp.Cast) and node.is_type("date") and isinstance(node.this, exp.AtTimeZone):
        return exp.Date(this=node.this.this, zone=node.this.args["zone"])
    return node


def _week(node: exp.Expr) -> exp.Expr:
    """A week begins on Monday here, and there on Sunday unless it is told."""
    if isinstance(node, exp.DateTrunc | exp.TimestampTrunc):
        part = node.text("unit").upper()
        unit = exp.WeekStart(this=exp.var("MONDAY")) if part == "WEEK" else exp.var(part)
        return exp.func("DATE_TRUNC", node.this, unit, dialect="bigquery")
    return node


def _micros(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Anonymous) and node.name.lower() == "epoch_us":
        return exp.UnixMicros(this=node.expressions[0])
    return node


def _earlier(node: exp.Expr) -> exp.Expr:
    """An instant less a span. Only hours, which are as long on every day of every zone."""
    if isinstance(node, exp.Sub) and isinstance(node.expression, exp.Interval):
        span = node.expression
        if span.text("unit").upper() not in ("HOUR", "HOURS"):
            raise ValueError(f"{span.sql()} depends on the zone of the session: say it in hours")
        return exp.TimestampSub(this=node.this, expression=exp.Literal.number(span.this.name), unit=exp.var("HOUR"))
    return node


def _series(node: exp.Expr) -> exp.Expr:
    """A series of days."""
    if isinstance(node, exp.GenerateSeries):
        step = node.args["step"]
        days = exp.Interval(this=exp.Literal.number(step.this.name), unit=exp.var(step.text("unit").upper()))
        return exp.GenerateDateArray(start=node.args["start"], end=node.args["end"], step=days)
    return node


def _nulls(node: exp.Expr) -> exp.Expr:
    """No order of ours meets a null beside a value, and BigQuery refuses to be told their place in most windows."""
    if isinstance(node, exp.Ordered):
        node.set("nulls_first", not node.args.get("desc"))
    return node


# What may stand in the text: all names are quoted there, so that what is not is a word of the language. The functions
# are those of BigQuery's reference (date, timestamp, mathematical, aggregate, numbering and navigation functions).


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


WORDS = _set(
    """
    ALL AND AS ASC BETWEEN BY CASE CROSS DESC DISTINCT ELSE END EXISTS FALSE FROM GROUP HAVING IN INNER IS JOIN LEFT
    NOT NULL ON OR ORDER OVER PARTITION QUALIFY RECURSIVE SELECT THEN TRUE UNION USING WHEN WHERE WINDOW WITH
    """
)
PARTS = _set("DAY HOUR INTERVAL MONDAY MONTH WEEK")
TYPES = _set("BOOL DATE FLOAT64 INT64 STRING TIMESTAMP")

_Arguments = list[list[str]]


def _of(least: int, most: int) -> Callable[[_Arguments], bool]:
    return lambda given: least <= len(given) <= most and all(given)


def _last_is(count: int, *forms: str) -> Callable[[_Arguments], bool]:
    return lambda given: len(given) == count and " ".join(given[-1]) in forms


CALLS: Mapping[str, Callable[[_Arguments], bool]] = {
    "AVG": _of(1, 1),
    "CAST": lambda given: len(given) == 1 and given[0][-2] == "AS" and given[0][-1] in TYPES,
    "COALESCE": _of(1, 99),
    "COUNT": _of(1, 1),
    "COUNTIF": _of(1, 1),
    "DATE": _last_is(2, "'UTC'"),
    "DATE_DIFF": _last_is(3, "DAY"),
    "DATE_TRUNC": _last_is(2, "WEEK ( MONDAY )", "MONTH"),
    "GENERATE_DATE_ARRAY": _last_is(3, "INTERVAL 1 DAY"),
    "LEAD": _of(1, 3),
    "MAX": _of(1, 1),
    "MIN": _of(1, 1),
    "NULLIF": _of(2, 2),
    "POWER": _of(2, 2),
    "ROW_NUMBER": _of(0, 0),
    "SUM": _of(1, 1),
    "TIMESTAMP_SUB": lambda given: (
        len(given) == 2 and given[1][0] == "INTERVAL" and given[1][1].isdigit() and given[1][2:] == ["HOUR"]
    ),
    "UNIX_MICROS": _of(1, 1),
    "UNNEST": _of(1, 1),
}
"""The functions, and of each what its arguments must look like: lists of words, where a quoted name is ``name``."""


def undocumented(text: str) -> list[str]:
    """Words of a GoogleSQL query that are none of the language, and calls of another form than is documented."""
    tokens = list(_tokens(text))
    found = []
    for place, token in enumerate(tokens):
        if not token[0].isalpha() or token == _NAME:
            continue
        called = tokens[place + 1 : place + 2] == ["("]
        if called and token in CALLS:
            given = _arguments(tokens[place + 2 :])
            if not CALLS[token](given):
                found.append(f"{token}({', '.join(map(' '.join, given))})")
        elif token not in WORDS | PARTS and (called or token not in TYPES):
            found.append(token)
    return found


_NAME = "name"


def _tokens(text: str) -> Iterator[str]:
    """Words in capitals, signs, literals, and ``name`` for whatever is quoted as one."""
    for token in sqlglot.tokenize(text, read="bigquery"):
        if token.token_type == TokenType.IDENTIFIER:
            yield _NAME
        elif token.token_type == TokenType.STRING:
            yield f"'{token.text}'"
        else:
            yield from token.text.upper().split()


def _arguments(tokens: Sequence[str]) -> _Arguments:
    """What stands up to the parenthesis that closes, parted at its commas."""
    given: _Arguments = [[]]
    depth = 0
    for token in tokens:
        depth += (token == "(") - (token == ")")
        if depth < 0:
            break
        if token == "," and not depth:
            given.append([])
        else:
            given[-1].append(token)
    return given if given != [[]] else []
