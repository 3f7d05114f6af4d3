"""The project configuration: one optional YAML file, typed, checked with file and line before anything is built.

Without a file the shipped defaults serve. Paths in it are relative to it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from contracts import documents
from contracts.event import DAY, HOUR, MINUTE
from transforms.channels.config import ChannelsConfig, parse_channels
from transforms.secret import SecretReference, parse_secret
from transforms.stores.database import StoreAddress

SHIPPED = Path(__file__).resolve().parent.parent / "ontology"

_KEYS = (
    "ontology",
    "identity",
    "policies",
    "lateness",
    "clock_skew",
    "max_event_bytes",
    "properties",
    "session_by",
    "maturity",
    "actions",
    "channels",
    "shards",
    "store",
    "features",
)


@dataclass(frozen=True)
class ProjectConfig:
    """Everything a run takes from files. Durations in microseconds."""

    ontology: Path = SHIPPED / "journey.yaml"
    identity: Path = SHIPPED / "identity.yaml"
    policies: tuple[Path, ...] = (SHIPPED / "policies" / "default.yaml",)
    lateness: int = 48 * HOUR
    clock_skew: int = 10 * MINUTE
    max_event_bytes: int = 262_144
    properties: tuple[str, ...] = ("*",)
    session_by: str | None = None
    maturity: int = 7 * DAY
    action_max_age: int = 7 * DAY
    channels: ChannelsConfig = field(default_factory=ChannelsConfig)
    strand_shards: int = 64
    journey_shards: int = 64
    store: StoreAddress | None = None
    """A database outside of OUT that holds the stores; None for the file in OUT."""
    online_redis: SecretReference | None = None
    """Where the URL of the Redis server is found that holds the online features; None for the file in OUT."""


def load_config(path: Path | None) -> ProjectConfig:
    """Read a project configuration; the shipped defaults when ``path`` is None.

    Raises:
        ConfigurationError: with file and line, and the nearest known key where one is misspelt.
    """
    default = ProjectConfig()
    if path is None:
        return default
    root = documents.load(path)
    root.mapping(_KEYS)
    base = path.resolve().parent
    changes: dict[str, object] = {}
    for key in ("ontology", "identity"):
        if node := root.get(key):
            changes[key] = _existing(base, node)
    if node := root.get("policies"):
        listed = node.list() if isinstance(node.value, list) else [node]
        changes["policies"] = tuple(_existing(base, item) for item in listed)
    for key in ("lateness", "clock_skew", "maturity"):
        if node := root.get(key):
            changes[key] = node.duration()
    if node := root.get("max_event_bytes"):
        changes["max_event_bytes"] = node.integer(minimum=1_024, maximum=16 * 1024 * 1024)
    if node := root.get("properties"):
        changes["properties"] = node.strings()
    if node := root.get("session_by"):
        changes["session_by"] = node.choice(("gap", "tracker"))
    if node := root.get("actions"):
        node.mapping(("max_age",))
        if age := node.get("max_age"):
            changes["action_max_age"] = age.duration()
    if node := root.get("channels"):
        changes["channels"] = parse_channels(node)
    if node := root.get("shards"):
        node.mapping(("strand", "journey"))
        for key in ("strand", "journey"):
            if item := node.get(key):
                changes[f"{key}_shards"] = item.integer(minimum=1, maximum=65_536)
    if node := root.get("store"):
        node.mapping(("postgres",))
        changes["store"] = StoreAddress(postgres=parse_secret(node.need("postgres")))
    if node := root.get("features"):
        node.mapping(("online",))
        online = node.need("online")
        online.mapping(("redis",))
        changes["online_redis"] = parse_secret(online.need("redis"))
    return dataclasses.replace(default, **changes)  # type: ignore[arg-type]  # keys are field names, checked above


def _existing(base: Path, node: documents.Node) -> Path:
    path = base / node.string()
    if not path.is_file():
        node.fail(f"{node.where}: there is no file {path}")
    return path
