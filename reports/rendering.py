"""How stories look: texts without control characters, times, lengths, tables that fit a terminal of 100 columns.

Input: values of the tables. Output: rich renderables. Times are shown in UTC. Errors, state: none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from rich.console import RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from contracts.printable import printable
from reports.lookup import Row

Item = TypeVar("Item")

ARROW = "\N{RIGHTWARDS ARROW}"

SHORT = 8
"""Digits of a pseudonym that are enough to tell two apart in one story."""


def clean(value: object) -> str:
    """A value as text that cannot command the terminal."""
    return printable(str(value))


def json_text(value: object, indent: int | None = None) -> str:
    """JSON that people can read, and that cannot command the terminal either: what is not printable is escaped."""
    written = json.dumps(value, ensure_ascii=False, indent=indent)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in written)


def text(value: object, style: str = "") -> Text:
    """Cleaned text, never read as markup."""
    return Text("" if value is None else clean(value), style=style)


def moment(micros: int) -> datetime:
    """A time that a JSON column holds as UTC microseconds."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


def date(moment: datetime | None) -> str:
    """A time to the day."""
    return moment.strftime("%Y-%m-%d") if moment is not None else "-"


def day(moment: datetime | None) -> str:
    """A time to the minute."""
    return moment.strftime("%Y-%m-%d %H:%M") if moment is not None else "-"


def second(moment: datetime | None) -> str:
    """A time to the second."""
    return moment.strftime("%Y-%m-%d %H:%M:%S") if moment is not None else "-"


def length(span: timedelta) -> str:
    """A length of time with one unit."""
    seconds = span.total_seconds()
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 or not seconds else f"{seconds * 1000:.0f} ms"


def number(value: float) -> str:
    """A number without needless digits."""
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.3g}"


def plural(n: int, noun: str) -> str:
    """``1 event``, ``2,000 events``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def plain(value: object) -> str:
    """A fact or a feature as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value)
    return clean(value) if value not in (None, "") else "none"


def newest(items: Sequence[Item], limit: int) -> Sequence[Item]:
    """The last ``limit`` of them; all for 0."""
    return items[-limit:] if limit else items


def shortened(shown: int, of: int, what: str) -> list[RenderableType]:
    """A line that says what was left out, if anything was."""
    if shown >= of:
        return []
    return [indented(Text(f"the newest {shown:,} of {of:,} {what}; --limit 0 shows all", style="dim italic"))]


def heading(title: str) -> list[RenderableType]:
    """The begin of a section."""
    return [Text(), Rule(Text(title, style="bold"), align="left", style="dim")]


def indented(item: RenderableType, by: int = 2) -> Padding:
    """Further in."""
    return Padding(item, (0, 0, 0, by))


def grid(headers: Sequence[str], rows: Iterable[Sequence[Text | str]], *, last_wraps: bool = True) -> Table:
    """A light table. Headers that begin with ``>`` are of numbers; all but the last column keep to one line."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for place, header in enumerate(headers):
        wraps = last_wraps and place == len(headers) - 1
        table.add_column(
            header.lstrip(">"),
            justify="right" if header.startswith(">") else "left",
            no_wrap=not wraps,
            overflow="fold" if wraps else "ellipsis",
        )
    for row in rows:
        table.add_row(*row)
    return table


def identifier(namespace: str, value: str) -> str:
    """An identifier, its pseudonym cut short."""
    return clean(f"{namespace} {value[:SHORT]}")


def values(pairs: Iterable[tuple[str, object]], columns: int = 3) -> Table:
    """Names with their values, several a line."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    cells = [Text.assemble((clean(name), "dim"), " ", plain(value)) for name, value in pairs]
    for _ in range(columns):
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for start in range(0, len(cells), columns):
        table.add_row(*cells[start : start + columns])
    return table


def consent(stated: Row) -> Text:
    """What was granted and what was refused."""
    if not stated:
        return Text("nothing stated")
    parts = [
        Text.assemble(clean(purpose), " ", ("yes", "green") if granted else ("no", "red"))
        for purpose, granted in sorted(stated.items())
    ]
    return Text(", ").join(parts)
