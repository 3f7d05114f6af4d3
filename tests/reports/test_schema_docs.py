"""docs/schemas.md and the Avro files say the same."""

from __future__ import annotations

import re

import pytest

from contracts.codec import SCHEMA_DIR, raw_schema, schema_id, versions
from reports.schema_docs import FOR_PEOPLE, PAGE, written

PROSE = PAGE.read_text(encoding="utf-8")
NAMES = sorted(path.name for path in SCHEMA_DIR.iterdir() if path.is_dir())


def test_the_page_tells_every_schema_as_its_file_has_it() -> None:
    assert written(PROSE) == PROSE, "write it anew: python -m reports.schema_docs"


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="schemas"):
        written("# Schemas\n")


@pytest.mark.parametrize("name", NAMES)
def test_the_page_has_each_schema_with_its_versions_its_id_and_each_field(name: str) -> None:
    section = re.search(rf"^## {name}\n(.*?)(?=^## |\Z|^<!--)", PROSE, re.DOTALL | re.MULTILINE)
    assert section is not None
    fields = [field["name"] for field in raw_schema(name)["fields"]]
    assert [f for f in fields if f"| `{f}` |" not in section[1]] == []
    assert all(f"{name}/v{number}.avsc" in section[1] for number in versions(name))
    assert f"(#{name}) |" in PROSE
    assert f"`{schema_id(name)}`" in PROSE


def test_what_people_send_and_read_comes_first() -> None:
    assert tuple(re.findall(r"^## (\w+)$", PROSE, re.MULTILINE))[: len(FOR_PEOPLE)] == FOR_PEOPLE


def test_fields_of_records_inside_are_told_with_their_place() -> None:
    assert "| `context.url` | string or null | `null` |" in PROSE
    assert "| `identifiers[].namespace` | string | none: has to be given |" in PROSE
