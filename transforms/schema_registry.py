"""Which writer's schema a message was written with: our own published event schemas, and a folder of others.

Pure: no Beam, no network. A folder holds ``.avsc`` files, each known by its fingerprint, and optionally
``schemas.yaml``, which says under what names topics refer to them:

    schemas:
      - event: 1                                  # a published version of our own event schema
        pubsub: projects/acme/schemas/events      # as googclient_schemaname has it
        revisions: [a1b2c3d4]                     # as googclient_schemarevisionid has it
      - file: shop-events.avsc
        confluent_ids: [17, 21]

Every schema must be readable as an event. Errors: ``ConfigurationError`` with file and line, before anything starts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path

from contracts import codec
from contracts.documents import Node, load
from contracts.errors import ConfigurationError
from transforms.decode import DecodeError, EventDecoder

INDEX = "schemas.yaml"
_KEYS = ("event", "file", "pubsub", "revisions", "confluent_ids")
_MAX_ID = (1 << 32) - 1


@lru_cache(maxsize=256)
def decoder_of(schema: str) -> EventDecoder:
    """The decoder of a schema's text, made once a process. Raises DecodeError."""
    return EventDecoder(schema)


@dataclass(frozen=True)
class SchemaRegistry:
    """Schemas as JSON text, by what a message may call them. Travels to workers.

    ``fingerprints``: CRC-64-AVRO, eight bytes in the order of the single-object encoding. ``revisions``: (name,
    revision id) of Pub/Sub. ``ids``: of a Confluent registry.
    """

    fingerprints: Mapping[bytes, str] = field(default_factory=dict)
    revisions: Mapping[tuple[str, str], str] = field(default_factory=dict)
    ids: Mapping[int, str] = field(default_factory=dict)

    def by_fingerprint(self, fingerprint: bytes) -> EventDecoder:
        """Raises DecodeError ``unknown_schema``."""
        schema = self.fingerprints.get(fingerprint)
        if schema is None:
            raise DecodeError("unknown_schema", f"fingerprint {fingerprint.hex()}")
        return decoder_of(schema)

    def by_revision(self, name: str, revision: str) -> EventDecoder:
        """Raises DecodeError ``unknown_schema``."""
        schema = self.revisions.get((name, revision))
        if schema is None:
            raise DecodeError("unknown_schema", f"Pub/Sub schema {name[:300]!r}, revision {revision[:40]!r}")
        return decoder_of(schema)

    def by_id(self, number: int) -> EventDecoder:
        """Raises DecodeError ``unknown_schema``."""
        schema = self.ids.get(number)
        if schema is None:
            raise DecodeError("unknown_schema", f"registry id {number}")
        return decoder_of(schema)


@cache
def _published_text(version: int) -> str:
    return json.dumps(codec.raw_schema("event", version), separators=(",", ":"))


@cache
def published() -> SchemaRegistry:
    """Our own event schemas alone, by fingerprint."""
    texts = [_published_text(version) for version in codec.versions("event")]
    return SchemaRegistry({bytes.fromhex(decoder_of(text).schema_id): text for text in texts})


def load_registry(folder: Path | None) -> SchemaRegistry:
    """Our own event schemas and those of a folder; None is the former alone.

    Raises:
        ConfigurationError: the folder or a file cannot be read, a schema is no event, a name stands for two schemas.
    """
    if folder is None:
        return published()
    if not folder.is_dir():
        raise ConfigurationError(
            folder, None, "is no folder", hint="it holds .avsc files and, optionally, schemas.yaml"
        )
    files: dict[str, str] = {}
    for path in sorted(folder.glob("*.avsc")):
        files[path.name] = _read(path)
    fingerprints = dict(published().fingerprints)
    fingerprints |= {bytes.fromhex(decoder_of(text).schema_id): text for text in files.values()}
    revisions: dict[tuple[str, str], str] = {}
    ids: dict[int, str] = {}
    index = folder / INDEX
    if index.exists():
        for entry in load(index).need("schemas").list():
            _add(entry, files, revisions, ids)
    return SchemaRegistry(fingerprints, revisions, ids)


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
        decoder_of(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(path, None, f"cannot be read: {type(error).__name__}") from error
    except DecodeError as error:
        raise ConfigurationError(
            path, None, f"cannot be read as an event: {error.detail}", hint="compare it with: contracts/schemas/event"
        ) from error
    return text


def _schema_of(entry: Node, files: Mapping[str, str]) -> str:
    version, file = entry.get("event"), entry.get("file")
    if (version is None) == (file is None):
        entry.fail("names a schema by one of 'event' and 'file'")
    if version is not None:
        number = version.integer(minimum=1)
        if number not in codec.versions("event"):
            version.fail(f"there is no event schema {number}", hint=f"versions: {codec.versions('event')}")
        return _published_text(number)
    assert file is not None
    name = file.string()
    if name not in files:
        file.fail(f"{name!r} is no .avsc file of this folder", hint=f"there are: {', '.join(files) or 'none'}")
    return files[name]


def _add(entry: Node, files: Mapping[str, str], revisions: dict[tuple[str, str], str], ids: dict[int, str]) -> None:
    entry.mapping(_KEYS)
    schema = _schema_of(entry, files)
    pubsub, listed, numbers = entry.get("pubsub"), entry.get("revisions"), entry.get("confluent_ids")
    if (pubsub is None) != (listed is None):
        entry.fail("needs 'pubsub' and 'revisions' together")
    if pubsub is not None and listed is not None:
        for revision in listed.strings():
            key = (pubsub.string(), revision)
            if revisions.setdefault(key, schema) != schema:
                listed.fail(f"revision {revision!r} of {key[0]!r} stands for two schemas")
    for number in numbers.list() if numbers is not None else ():
        if ids.setdefault(number.integer(minimum=0, maximum=_MAX_ID), schema) != schema:
            number.fail(f"id {number.value} stands for two schemas")
