"""The Feast repository, generated from the declaration of the features.

``apply(out)`` writes ``OUT/feast``: a configuration, a readable repository file with the same objects (so that Feast's
own command line works in that folder), a SQL registry, and applies the objects to it. The registry names the history
file by its absolute path, because Feast reads it from the working directory; ``open_store`` applies again when OUT has
moved or the declaration has changed. Importing this module imports no Feast; its functions do.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from contracts.errors import LockedError, OutputError
from features import names
from features.declaration import Feature
from features.feast_import import feast
from features.journey_features import FEATURE_NAMES, FEATURE_VERSION, FEATURES, VERSIONS, declaration_hash, model_inputs
from features.offline import create_history
from features.online_address import OnlineAddress, address_of
from features.online_table import ONLINE_FILE

_STAMP = "applied.json"
_ONLINE_TYPE = "features.online_store.RevisionOnlineStore"
_OFFLINE_TYPE = "features.offline_store.NarrowDuckDBOfflineStore"


def folder_of(out: Path) -> Path:
    """The Feast repository of an output folder."""
    return out / "feast"


def objects(history: Path) -> list[Any]:
    """The Feast objects: entity, and for each served version its view, and services of the model and of everything.

    Args:
        history: the Parquet file with the newest revision of every vector.
    """
    package = feast()
    from feast.types import Float64, Int64, String

    entity = package.Entity(
        name=names.ENTITY,
        join_keys=[names.JOIN_KEY],
        value_type=package.ValueType.STRING,
        description="A person, as identity stands now.",
    )
    source = package.FileSource(
        name=names.SOURCE,
        path=str(history),
        timestamp_field="at",
        created_timestamp_column="created",
        description="One row an evaluation point: the newest revision, without deleted rows.",
    )
    found = [entity]
    for version, features in VERSIONS.items():
        fields = [package.Field(name=names.JOIN_KEY, dtype=String)]
        fields += [
            package.Field(
                name=feature.name,
                dtype=Float64,
                description=feature.description,
                tags={"owner": feature.owner, "kind": feature.kind},
            )
            for feature in features
        ]
        fields.append(
            package.Field(name="revision", dtype=Int64, description="Revision of the row: the greatest wins.")
        )
        view = package.FeatureView(
            name=names.view_of(version),
            entities=[entity],
            schema=fields,
            source=source,
            ttl=timedelta(0),
            online=True,
            description="The journey features at each evaluation point.",
            tags={"version": version, "declaration": declaration_hash(), "rows": names.ROWS},
        )
        model, journey = names.services_of(version)
        found += [
            view,
            package.FeatureService(
                name=model,
                features=[view[list(model_inputs(version))]],
                description="What the stage classifier reads.",
                tags={"version": version},
            ),
            package.FeatureService(
                name=journey,
                features=[view],
                description="Every feature, and the revision.",
                tags={"version": version},
            ),
        ]
    return found


def apply(out: Path) -> int:
    """Write ``OUT/feast`` and apply the objects to its registry. Doing it again changes nothing.

    Returns:
        How many features the view has.

    Raises:
        OutputError: the folder cannot be written, or its registry is damaged.
        LockedError: another process holds the registry.
    """
    folder = folder_of(out).resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        create_history(out)
        _write(folder / names.CONFIG_FILE, configuration(address_of(folder)))
        _write(folder / names.REPOSITORY_FILE, repository_source())
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}") from error
    with _registry_errors(folder):
        _store(folder).apply(objects(folder / names.HISTORY_FILE))
    _write(folder / _STAMP, json.dumps(_stamp(folder)))
    return len(FEATURES)


def open_store(out: Path) -> Any:
    """The ``feast.FeatureStore`` of OUT, applied first where it is missing, has moved or has an older declaration."""
    folder = folder_of(out).resolve()
    if not _is_applied(folder):
        apply(out)
    with _registry_errors(folder):
        store = _store(folder)
        store.list_feature_services()  # reads the registry: a damaged one is found here, not in the middle of a join
    return store


def read_online(out: Path, person_ids: list[str]) -> dict[str, dict[str, float]]:
    """The newest vector of persons, through Feast: person to feature name to value, with ``revision``.

    Persons without a vector (unknown, retired, erased) are left out.
    """
    if not person_ids:
        return {}
    store = open_store(out)
    answer = store.get_online_features(
        features=store.get_feature_service(names.JOURNEY_SERVICE),
        entity_rows=[{names.JOIN_KEY: person_id} for person_id in person_ids],
    ).to_dict()
    found: dict[str, dict[str, float]] = {}
    for index, person_id in enumerate(answer[names.JOIN_KEY]):
        if answer["revision"][index] is not None:
            values = {name: answer[name][index] for name in (*FEATURE_NAMES, "revision")}
            found[person_id] = {name: value for name, value in values.items() if value is not None}
    return found


def configuration(address: OnlineAddress) -> str:
    """``feature_store.yaml``: relative to its folder, where Feast's command line runs."""
    online = {**_online_store(address), **({} if address.redis else {"path": ONLINE_FILE})}
    return (
        "# Written by `wayline features apply`.\n"
        f"project: {names.PROJECT}\n"
        "provider: local\n"
        "registry:\n"
        "  registry_type: sql\n"
        f"  path: sqlite:///{names.REGISTRY_FILE}\n"
        "offline_store:\n"
        f"  type: {_OFFLINE_TYPE}\n"
        "online_store:\n"
        + "".join(f"  {key}: {json.dumps(value) if key != 'type' else value}\n" for key, value in online.items())
        + "entity_key_serialization_version: 3\n"
    )


def _online_store(address: OnlineAddress) -> dict[str, str]:
    """The section of Feast's configuration. It names where a URL is found, and holds none."""
    if address.redis is None:
        return {"type": _ONLINE_TYPE, "path": str(address.path)}
    places = {"redis_env": address.redis.env, "redis_file": address.redis.path, "redis_prefix": address.prefix}
    return {"type": _ONLINE_TYPE, **{key: value for key, value in places.items() if value}}


def repository_source() -> str:
    """The repository file: the objects of ``objects``, spelt out for people and for Feast's command line."""
    lines = [
        f'"""Journey features {FEATURE_VERSION}, declaration {declaration_hash()}.',
        "",
        "Written by `wayline features apply` from the declaration in features/journey_features.py; edits are lost.",
        '"""',
        "",
        "from datetime import timedelta",
        "from pathlib import Path",
        "",
        "from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType",
        "from feast.types import Float64, Int64, String",
        "",
        f"{names.ENTITY} = Entity(",
        f'    name="{names.ENTITY}",',
        f'    join_keys=["{names.JOIN_KEY}"],',
        "    value_type=ValueType.STRING,",
        '    description="A person, as identity stands now.",',
        ")",
        "",
        f"{names.SOURCE} = FileSource(",
        f'    name="{names.SOURCE}",',
        f'    path=str(Path(__file__).resolve().with_name("{names.HISTORY_FILE}")),',
        '    timestamp_field="at",',
        '    created_timestamp_column="created",',
        '    description="One row an evaluation point: the newest revision, without deleted rows.",',
        ")",
        "",
    ]
    for version, features in VERSIONS.items():
        lines += _version_source(version, features)
    return "\n".join(lines) + "\n"


def _version_source(version: str, features: Sequence[Feature]) -> list[str]:
    """View and services of one version, as Python."""
    view, (model, journey) = names.view_of(version), names.services_of(version)
    lines = [
        "",
        f"{view} = FeatureView(",
        f'    name="{view}",',
        f"    entities=[{names.ENTITY}],",
        "    schema=[",
        f'        Field(name="{names.JOIN_KEY}", dtype=String),',
    ]
    for feature in features:
        tags = json.dumps({"owner": feature.owner, "kind": feature.kind})
        lines += [
            "        Field(",
            f'            name="{feature.name}",',
            "            dtype=Float64,",
            f"            description={json.dumps(feature.description)},",
            f"            tags={tags},",
            "        ),",
        ]
    tags = json.dumps({"version": version, "declaration": declaration_hash(), "rows": names.ROWS})
    return [
        *lines,
        '        Field(name="revision", dtype=Int64, description="Revision of the row: the greatest wins."),',
        "    ],",
        f"    source={names.SOURCE},",
        "    ttl=timedelta(0),",
        "    online=True,",
        '    description="The journey features at each evaluation point.",',
        f"    tags={tags},",
        ")",
        "",
        f"{model} = FeatureService(",
        f'    name="{model}",',
        "    features=[",
        f"        {view}[",
        "            [",
        *(f'                "{name}",' for name in model_inputs(version)),
        "            ]",
        "        ]",
        "    ],",
        '    description="What the stage classifier reads.",',
        f'    tags={{"version": "{version}"}},',
        ")",
        "",
        f"{journey} = FeatureService(",
        f'    name="{journey}",',
        f"    features=[{view}],",
        '    description="Every feature, and the revision.",',
        f'    tags={{"version": "{version}"}},',
        ")",
    ]


def _store(folder: Path) -> Any:
    """A FeatureStore on ``folder`` whatever the working directory: the same configuration with absolute paths."""
    package = feast()
    config = package.RepoConfig(
        project=names.PROJECT,
        provider="local",
        registry={
            "registry_type": "sql",
            "path": f"sqlite:///{folder / names.REGISTRY_FILE}",
            "cache_ttl_seconds": 600,
        },
        offline_store={"type": _OFFLINE_TYPE},
        online_store=_online_store(address_of(folder)),
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    return package.FeatureStore(config=config)


@contextmanager
def _registry_errors(folder: Path) -> Iterator[None]:
    """What SQLite says of the registry, as an error that a user understands."""
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except DBAPIError as error:
        registry = folder / names.REGISTRY_FILE
        if "locked" in str(error.orig):
            raise LockedError(
                f"{registry} is locked by another process", hint="wait for it to end, or stop it"
            ) from error
        raise OutputError(
            f"the Feast registry {registry} cannot be used: {error.orig}",
            hint="remove the file, then run `wayline features apply`",
        ) from error


def _stamp(folder: Path) -> dict[str, str]:
    place = hashlib.blake2b(os.fsencode(folder), digest_size=8).hexdigest()
    online = hashlib.blake2b(repr(address_of(folder)).encode(), digest_size=8).hexdigest()
    return {"declaration": declaration_hash(), "place": place, "online": online}


def _is_applied(folder: Path) -> bool:
    if not (folder / names.REGISTRY_FILE).is_file() or not (folder / names.HISTORY_FILE).is_file():
        return False
    try:
        stamp = json.loads((folder / _STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(stamp == _stamp(folder))


def _write(path: Path, text: str) -> None:
    """Replace a file whole, so that a reader never sees half of it."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
