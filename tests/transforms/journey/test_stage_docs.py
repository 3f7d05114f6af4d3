"""docs/stages.md names every fact; run with WAYLINE_WRITE_DOCS=1 to write the table anew."""

from __future__ import annotations

import os
from pathlib import Path

from transforms.journey.facts import EVENT_FACTS, TIME_FACTS

PAGE = Path(__file__).parents[3] / "docs" / "stages.md"
BEGIN, END = "<!-- facts -->\n", "<!-- /facts -->"


def table() -> str:
    rows = ["| fact | type | what it says | in stage conditions |", "|---|---|---|---|"]
    for facts, allowed in ((EVENT_FACTS, "yes"), (TIME_FACTS, "no: changes by time alone")):
        rows += [f"| `{name}` | {kind} | {text} | {allowed} |" for name, (kind, text) in facts.items()]
    return "\n".join(rows) + "\n"


def test_the_page_lists_every_fact() -> None:
    text = PAGE.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    current, tail = rest.split(END)
    if os.environ.get("WAYLINE_WRITE_DOCS"):
        PAGE.write_text(head + BEGIN + table() + END + tail, encoding="utf-8")
        current = table()
    assert current == table()
