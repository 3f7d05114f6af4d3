"""The schemas of ``docs/schemas.md``, written from the Avro files: ``python -m reports.schema_docs``.

Input: the newest version of each schema in ``contracts/schemas``, and which versions there are. Output: the page, in
which only the text between the two markers is replaced. The rest of the page is written by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import Any

from contracts.codec import SCHEMA_DIR, raw_schema, schema_id, versions
from reports.page_part import renewed

PAGE = Path(__file__).resolve().parent.parent / "docs" / "schemas.md"
BEGIN, END = "<!-- schemas -->\n", "<!-- /schemas -->\n"

FOR_PEOPLE = ("event", "dead_letter", "action", "decision", "outcome", "label")
"""What people send, receive or look for in files and tables; the others travel between stages or stand in state."""


def written(page: str) -> str:
    """The page with its schemas as the files have them.

    Raises:
        ValueError: the page lacks the markers.
    """
    return renewed(page, BEGIN, END, schemas_markdown())


def schemas_markdown() -> str:
    """The part of the page between the markers."""
    inner = sorted({path.name for path in SCHEMA_DIR.iterdir() if path.is_dir()} - set(FOR_PEOPLE))
    lines = ["| schema | one record is | newest | id of the newest |", "|---|---|---|---|"]
    lines += [_overview(name) for name in (*FOR_PEOPLE, *inner)]
    return "\n".join([*lines, "", *map(_section, (*FOR_PEOPLE, *inner))])


def _overview(name: str) -> str:
    return f"| [`{name}`](#{name}) | {_cell(raw_schema(name)['doc'])} | {versions(name)[-1]} | `{schema_id(name)}` |"


def _section(name: str) -> str:
    schema = raw_schema(name)
    kept = [f"[{n}](../contracts/schemas/{name}/v{n}.avsc)" for n in versions(name)]
    lines = [
        f"## {name}",
        "",
        fill(schema["doc"], 120),
        "",
        f"Avro record `{schema['namespace']}.{schema['name']}`, versions:",
        *(f"{version}," for version in kept[:-1]),
        f"{kept[-1]}.",
        "",
        "| field | type | default | what it says |",
        "|---|---|---|---|",
        *_fields(schema, ""),
    ]
    return "\n".join(lines) + "\n"


def _fields(record: dict[str, Any], place: str) -> Iterator[str]:
    for field in record["fields"]:
        name = f"{place}{field['name']}"
        default = f"`{json.dumps(field['default'])}`" if "default" in field else "none: has to be given"
        yield f"| `{name}` | {_type(field['type'])} | {default} | {_cell(field['doc'])} |"
        for inner, within in _records(field["type"], name):
            yield from _fields(inner, f"{within}.")


def _records(kind: Any, place: str) -> Iterator[tuple[dict[str, Any], str]]:
    """The records that a type declares, each with the place of its fields; a record named only was told before."""
    if isinstance(kind, list):
        for branch in kind:
            yield from _records(branch, place)
    elif isinstance(kind, dict):
        if kind["type"] == "record":
            yield kind, place
        elif kind["type"] == "array":
            yield from _records(kind["items"], f"{place}[]")
        elif kind["type"] == "map":
            yield from _records(kind["values"], f"{place}{{}}")


def _type(kind: Any) -> str:
    """A type in words of Avro; null as one of several is said last."""
    if isinstance(kind, list):
        told = [_type(branch) for branch in kind if branch != "null"]
        return " or ".join([*told, "null"] if "null" in kind else told)
    if isinstance(kind, str):
        return kind
    if "logicalType" in kind:
        return f"{kind['type']} ({kind['logicalType']})"
    match kind["type"]:
        case "array":
            return f"array of {_type(kind['items'])}"
        case "map":
            return f"map of string to {_type(kind['values'])}"
        case "enum":
            return "one of " + ", ".join(f"`{symbol}`" for symbol in kind["symbols"])
        case "record":
            return f"record {kind['name']}"
        case other:
            return _type(other)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Write the page."""
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
