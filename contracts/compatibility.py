"""Whether data written with one schema can be read with another, with the place of every obstacle.

Apache Avro's checker finds structural obstacles; it knows nothing of logical types, so that a timestamp in milliseconds
passes for one in microseconds. ``incompatibilities`` adds that. Pure: no Beam.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import avro.errors
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import parse

from contracts import codec
from contracts.errors import CheckFailedError

PUBLISHED = "published.json"
"""Which versions are released: name/vN to a digest of the file. A released version never changes again."""


class Obstacle(NamedTuple):
    """One reason why data cannot pass; ``location`` is a path such as ``/fields/2/type`` in the reader's schema."""

    location: str
    message: str


def _structural(reader: Any, writer: Any) -> Iterator[Obstacle]:
    if reader == [] or writer == []:
        yield Obstacle("/", "a union without branches")
        return
    try:
        # without logical types: the checker refuses some that are merely unknown to it; they are compared below
        plain = [parse(json.dumps(codec.without_logical_types(schema))) for schema in (reader, writer)]
    except (avro.errors.AvroException, TypeError, ValueError, AttributeError, KeyError, RecursionError) as error:
        yield Obstacle("/", f"not a valid schema: {error}"[:300])
        return
    try:
        result = ReaderWriterCompatibilityChecker().get_compatibility(*plain)
    except RecursionError:
        yield Obstacle("/", "the schema is nested too deeply")
        return
    if result.compatibility is SchemaCompatibilityType.compatible:
        return
    kinds = ", ".join(sorted(kind.value.replace("_", " ") for kind in result.incompatibilities))
    # the checker also names the root of whatever it found deeper down
    places = sorted(place for place in result.locations if place != "/" or len(result.locations) == 1)
    yield Obstacle(", ".join(places), f"{kinds}: {'; '.join(sorted(result.messages))}")


def _branches(schema: Any) -> list[Any]:
    return schema if isinstance(schema, list) else [schema]


def _kind(schema: Any) -> Any:
    return schema.get("type") if isinstance(schema, dict) else schema


def _logical(reader: Any, writer: Any, place: str) -> Iterator[Obstacle]:
    """Walk both schemas side by side, as resolution would, and compare logical types where both have a value."""
    if isinstance(reader, list) or isinstance(writer, list):
        for r in _branches(reader):
            for w in _branches(writer):
                if _kind(r) == _kind(w):
                    yield from _logical(r, w, place)
        return
    if not isinstance(reader, dict) and not isinstance(writer, dict):
        return
    r = reader if isinstance(reader, dict) else {"type": reader}
    w = writer if isinstance(writer, dict) else {"type": writer}
    if isinstance(r.get("type"), (dict, list)) or isinstance(w.get("type"), (dict, list)):
        yield from _logical(r.get("type"), w.get("type"), place)
        return
    if r.get("logicalType") != w.get("logicalType"):
        was, now = w.get("logicalType") or "none", r.get("logicalType") or "none"
        yield Obstacle(place, f"logical type changes from {was} (written) to {now} (read)")
    if r.get("type") == w.get("type") == "record":
        written = {field.get("name"): field for field in w.get("fields", [])}
        for index, field in enumerate(r.get("fields", [])):
            other = written.get(field.get("name"))
            if other is not None:
                yield from _logical(field.get("type"), other.get("type"), f"{place}fields/{index}/type")
    for inner in ("items", "values"):
        if inner in r and inner in w:
            yield from _logical(r[inner], w[inner], f"{place}{inner}")


def incompatibilities(reader: Any, writer: Any, *, logical: bool = True) -> list[Obstacle]:
    """Why data written with ``writer`` cannot be read with ``reader``; empty when it can.

    Args:
        reader: the reader's schema as parsed JSON.
        writer: the writer's schema as parsed JSON.
        logical: whether a changed logical type is an obstacle.
    """
    found = list(_structural(reader, writer))
    if logical and not found:
        found += _logical(reader, writer, "/")
    return found


def _undocumented(schema: Any, place: str) -> Iterator[Obstacle]:
    """Fields without a doc: a contract says what each field means."""
    for branch in _branches(schema):
        if not isinstance(branch, dict):
            continue
        for index, field in enumerate(branch.get("fields", [])):
            here = f"{place}fields/{index}/"
            if not field.get("doc"):
                yield Obstacle(here, f"field {field.get('name')!r} has no doc")
            yield from _undocumented(field.get("type"), here + "type/")
        for inner in ("items", "values", "type"):
            if isinstance(branch.get(inner), (dict, list)):
                yield from _undocumented(branch[inner], f"{place}{inner}/")


def digest(schema: Any) -> str:
    """A digest of what a schema means, independent of its layout on the page."""
    return hashlib.sha256(json.dumps(schema, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:32]


class SchemaReport(NamedTuple):
    """What a check looked at, and what is wrong: each finding names schema, versions, direction and place."""

    schemas: int
    versions: int
    pairs: int
    findings: tuple[str, ...]


def _load(path: Path) -> tuple[Any, str | None]:
    try:
        return json.loads(path.read_text(encoding="utf-8")), None
    except (OSError, ValueError) as error:
        return None, str(error)


def check_schemas(directory: Path = codec.SCHEMA_DIR) -> SchemaReport:
    """Compare every version of every schema with all its predecessors, backward and forward.

    Backward: the newer reads what the older wrote. Forward: the older reads what the newer wrote. Also: each file is a
    valid schema, every field is documented, versions count up from 1, and a published version has not changed.
    """
    findings: list[str] = []
    published, problem = _load(directory / PUBLISHED) if (directory / PUBLISHED).exists() else ({}, None)
    if problem or not isinstance(published, dict):
        findings.append(f"{PUBLISHED}: cannot be read: {problem or 'it is no mapping'}")
        published = {}
    names = sorted(path.name for path in directory.iterdir() if path.is_dir())
    total = pairs = 0
    for name in names:
        numbers = sorted(int(p.stem[1:]) for p in (directory / name).glob("v*.avsc") if p.stem[1:].isdigit())
        total += len(numbers)
        if numbers != list(range(1, len(numbers) + 1)) or not numbers:
            findings.append(f"{name}: versions must count up from v1 without a gap, found {numbers}")
        loaded: dict[int, Any] = {}
        for number in numbers:
            where = f"{name}/v{number}"
            schema, problem = _load(directory / name / f"v{number}.avsc")
            if problem:
                findings.append(f"{where}: cannot be read: {problem}")
                continue
            own = [*_structural(schema, schema), *_undocumented(schema, "/")]
            findings += [f"{where}: at {o.location}: {o.message}" for o in own]
            if where in published and published[where] != digest(schema):
                findings.append(f"{where}: a published version was changed; write v{numbers[-1] + 1} instead")
            loaded[number] = schema
        for newer in loaded:
            for older in loaded:
                if older < newer:
                    pairs += 1
                    findings += _compare(name, loaded, older, newer)
    findings += [
        f"{where}: a published version is gone" for where in published if not (directory / f"{where}.avsc").exists()
    ]
    return SchemaReport(len(names), total, pairs, tuple(findings))


def _compare(name: str, loaded: dict[int, Any], older: int, newer: int) -> Iterator[str]:
    for direction, reader, writer in (("backward", newer, older), ("forward", older, newer)):
        for obstacle in incompatibilities(loaded[reader], loaded[writer]):
            yield (
                f"{name}: {direction}: v{reader} cannot read what v{writer} wrote: "
                f"at {obstacle.location}: {obstacle.message}"
            )


def require_compatible(directory: Path = codec.SCHEMA_DIR) -> SchemaReport:
    """``check_schemas``, with every finding in one error.

    Raises:
        CheckFailedError: anything was found.
    """
    report = check_schemas(directory)
    if report.findings:
        raise CheckFailedError(
            "\n".join([f"{len(report.findings)} findings in {report.schemas} schemas:", *report.findings]),
            hint="add fields with a default, never change the type of one; a rename is a new field",
        )
    return report


def publish(directory: Path = codec.SCHEMA_DIR) -> tuple[str, ...]:
    """Record the digest of every version not yet recorded, after a check; returns those that are new."""
    require_compatible(directory)
    known = json.loads((directory / PUBLISHED).read_text(encoding="utf-8")) if (directory / PUBLISHED).exists() else {}
    new = {}
    for path in sorted(directory.glob("*/v*.avsc")):
        where = f"{path.parent.name}/{path.stem}"
        if where not in known:
            new[where] = digest(json.loads(path.read_text(encoding="utf-8")))
    text = json.dumps({**known, **new}, indent=2, sort_keys=True) + "\n"
    (directory / PUBLISHED).write_text(text, encoding="utf-8")
    return tuple(new)
