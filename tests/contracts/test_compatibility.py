"""What the schema check finds, and where."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from contracts import codec
from contracts.compatibility import check_schemas, incompatibilities, publish, require_compatible
from contracts.errors import CheckFailedError

V1: dict[str, Any] = {
    "type": "record",
    "name": "T",
    "doc": "T.",
    "fields": [
        {"name": "id", "type": "string", "doc": "Id."},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}, "doc": "Time."},
    ],
}


def write(folder: Path, *versions: dict[str, Any]) -> Path:
    (folder / "t").mkdir(exist_ok=True)
    for number, schema in enumerate(versions, 1):
        (folder / "t" / f"v{number}.avsc").write_text(json.dumps(schema))
    return folder


def changed(**by_name: Any) -> dict[str, Any]:
    schema = copy.deepcopy(V1)
    for field in schema["fields"]:
        field.update(by_name.get(field["name"], {}))
    return schema


def test_the_committed_schemas_are_compatible() -> None:
    assert require_compatible().schemas >= 28


def test_a_new_field_with_a_default_passes_both_ways(tmp_path: Path) -> None:
    newer = copy.deepcopy(V1)
    newer["fields"].append({"name": "more", "type": ["null", "string"], "default": None, "doc": "More."})
    assert check_schemas(write(tmp_path, V1, newer)).findings == ()


def test_a_new_field_without_a_default_is_found_backward_with_its_place(tmp_path: Path) -> None:
    newer = copy.deepcopy(V1)
    newer["fields"].append({"name": "more", "type": "string", "doc": "More."})
    (finding,) = check_schemas(write(tmp_path, V1, newer)).findings
    assert "backward: v2 cannot read what v1 wrote: at /fields/2" in finding


def test_a_widened_type_is_found_forward(tmp_path: Path) -> None:
    findings = check_schemas(write(tmp_path, changed(id={"type": "string"}), changed(id={"type": ["null", "string"]})))
    assert [f.split(":")[1] for f in findings.findings] == [" forward"]


def test_a_changed_logical_type_is_found_though_the_library_calls_it_compatible(tmp_path: Path) -> None:
    millis = changed(at={"type": {"type": "long", "logicalType": "timestamp-millis"}})
    findings = check_schemas(write(tmp_path, V1, millis)).findings
    assert len(findings) == 2
    assert all("/fields/1/type" in f and "timestamp-millis" in f for f in findings)
    assert incompatibilities(V1, millis, logical=False) == []


def test_a_published_version_may_not_change(tmp_path: Path) -> None:
    folder = write(tmp_path, V1)
    assert publish(folder) == ("t/v1",)
    write(folder, changed(id={"doc": "Another meaning."}))
    with pytest.raises(CheckFailedError, match="a published version was changed"):
        require_compatible(folder)


def test_broken_files_gaps_and_missing_docs_are_found_not_raised(tmp_path: Path) -> None:
    folder = write(tmp_path, changed(id={"doc": ""}))
    (folder / "t" / "v3.avsc").write_text("{")
    found = "\n".join(check_schemas(folder).findings)
    assert "has no doc" in found
    assert "v3: cannot be read" in found
    assert "without a gap" in found


@pytest.mark.parametrize("junk", ["string", 5, None, [], {"type": "nope"}, {"type": "record"}])
def test_junk_is_an_obstacle_not_an_exception(junk: object) -> None:
    assert incompatibilities(codec.raw_schema("event"), junk)
