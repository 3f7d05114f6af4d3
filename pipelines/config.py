"""The project configuration: one optional YAML file, typed, checked with file and line before anything is built.

Without a file the shipped defaults serve. Paths in it are relative to it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from contracts import documents
from contracts.errors import ConfigurationError
from contracts.event import DAY, HOUR, MINUTE
from transforms.channels.config import ChannelsConfig, parse_channels
from transforms.secret import SecretReference, parse_secret
from transforms.stores.database import StoreAddress

SHIPPED = Path(__file__).resolve().parent.parent / "ontology"


@dataclass(frozen=True)
class ProjectConfig:
    """Everything a run takes from files. Durations in microseconds."""

    ontology: Path = SHIPPED / "journey.yaml"
    identity: Path = SHIPPED / "identity.yaml"
    policies: tuple[Path, ...] = (SHIPPED / "policies" / "default.yaml",)
    mappings: Path = SHIPPED / "mappings"
    """Where ``wayline import --mapping NAME`` looks first."""
    metrics: Path = SHIPPED / "metrics.yaml"
    scenarios: Path | None = None
    """What ``wayline test`` plays; None: the folder tests/journeys below the working folder."""
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

    @property
    def mapping_folders(self) -> tuple[Path, ...]:
        """Where a mapping is looked for by its name, in this order."""
        return tuple(dict.fromkeys((self.mappings, SHIPPED / "mappings")))


def load_config(path: Path | None) -> ProjectConfig:
    """Read a project configuration; the shipped defaults when ``path`` is None.

    Raises:
        ConfigurationError: with file and line, and the nearest known key where one is misspelt.
    """
    config, faults = read_config(path)
    if faults:
        raise faults[0]
    return config


def read_config(path: Path | None) -> tuple[ProjectConfig, tuple[ConfigurationError, ...]]:
    """Like ``load_config``, but it goes on after a fault: a key that is at fault keeps its default."""
    if path is None:
        return ProjectConfig(), ()
    changes: dict[str, object] = {}
    faults: list[ConfigurationError] = []
    base = path.resolve().parent
    try:
        root = documents.load(path)
        given = root.mapping()
    except ConfigurationError as error:
        return ProjectConfig(), (error,)
    for key, node in given.items():
        try:
            if key not in _READERS:
                documents.Node({key: node}, root.path, root.line, root.where).mapping(_KEYS)
            elif node.value is not None:
                changes |= _READERS[key](base, node)
        except ConfigurationError as error:
            faults.append(error)
    return dataclasses.replace(ProjectConfig(), **changes), tuple(faults)  # type: ignore[arg-type]  # field names


def _file(base: Path, node: documents.Node) -> dict[str, object]:
    return {node.where: _existing(base, node)}


def _folder(base: Path, node: documents.Node) -> dict[str, object]:
    path = base / node.string()
    if not path.is_dir():
        node.fail(f"{node.where}: there is no folder {path}")
    return {node.where: path}


def _policies(base: Path, node: documents.Node) -> dict[str, object]:
    listed = node.list() if isinstance(node.value, list) else [node]
    if len(listed) == 1 and (folder := base / listed[0].string()).is_dir():
        files = yaml_files(folder)
        if not files:
            node.fail(f"{node.where}: there is no policy file in {folder}", hint="they end in .yaml")
        return {"policies": files}
    return {"policies": tuple(_existing(base, item) for item in listed)}


def _duration(_: Path, node: documents.Node) -> dict[str, object]:
    return {node.where: node.duration()}


def _actions(_: Path, node: documents.Node) -> dict[str, object]:
    node.mapping(("max_age",))
    age = node.get("max_age")
    return {} if age is None else {"action_max_age": age.duration()}


def _shards(_: Path, node: documents.Node) -> dict[str, object]:
    parts = node.mapping(("strand", "journey"))
    return {
        f"{key}_shards": item.integer(minimum=1, maximum=65_536)
        for key, item in parts.items()
        if item.value is not None
    }


def _store(_: Path, node: documents.Node) -> dict[str, object]:
    node.mapping(("postgres",))
    return {"store": StoreAddress(postgres=parse_secret(node.need("postgres")))}


def _features(_: Path, node: documents.Node) -> dict[str, object]:
    node.mapping(("online",))
    online = node.need("online")
    online.mapping(("redis",))
    return {"online_redis": parse_secret(online.need("redis"))}


_READERS: dict[str, Callable[[Path, documents.Node], dict[str, object]]] = {
    "ontology": _file,
    "identity": _file,
    "policies": _policies,
    "mappings": _folder,
    "metrics": _file,
    "scenarios": _folder,
    "lateness": _duration,
    "clock_skew": _duration,
    "max_event_bytes": lambda _, node: {"max_event_bytes": node.integer(minimum=1_024, maximum=16 * 1024 * 1024)},
    "properties": lambda _, node: {"properties": node.strings()},
    "session_by": lambda _, node: {"session_by": node.choice(("gap", "tracker"))},
    "maturity": _duration,
    "actions": _actions,
    "channels": lambda _, node: {"channels": parse_channels(node)},
    "shards": _shards,
    "store": _store,
    "features": _features,
}
"""What reads each key: it is given the folder of the file and the key's node, and gives fields with their values."""

_KEYS = tuple(_READERS)


def yaml_files(folder: Path) -> tuple[Path, ...]:
    """The YAML files directly in a folder, by name."""
    return tuple(sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]))


def _existing(base: Path, node: documents.Node) -> Path:
    path = base / node.string()
    if not path.is_file():
        node.fail(f"{node.where}: there is no file {path}")
    return path
