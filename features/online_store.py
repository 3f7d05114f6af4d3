"""The online table as a Feast online store: ``online_store.type: features.online_store.RevisionOnlineStore``.

The table is a SQLite file or in a Redis server (``features.online_address``); Feast's own API reads and writes both.

Feast's own SQLite store lets an older row overwrite a newer one. This one keeps the greatest ``revision``, a field that
every view in it must have, whichever way rows come: from the pipeline, ``feast materialize`` or ``store.push``.
It holds views of one text entity and Float64 features, which is all that Wayline has. Importing this module imports
Feast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from feast.feature_service import FeatureService
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel
from pydantic import StrictStr

from contracts.errors import OutputError
from features.online_address import OnlineAddress, Vectors, open_online
from features.online_answer import REVISION, Question, TableAnswer, columns_of, view_of
from features.online_table import ONLINE_FILE
from transforms.secret import SecretReference

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

Written = tuple[Any, dict[str, Any], datetime, datetime | None]
"""(entity key proto, feature name to value proto, event time, created): a row as Feast hands it over."""


class RevisionOnlineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]  # Feast is untyped
    """``path``: the SQLite file, relative to the Feast repository.

    Or a Redis server: ``redis_env`` or ``redis_file`` names the variable or the file that holds its URL,
    ``redis_prefix`` begins its keys.
    """

    type: Literal["features.online_store.RevisionOnlineStore"] = "features.online_store.RevisionOnlineStore"
    path: StrictStr = ONLINE_FILE
    redis_env: StrictStr | None = None
    redis_file: StrictStr | None = None
    redis_prefix: StrictStr = ""


class RevisionOnlineStore(OnlineStore):  # type: ignore[misc]  # Feast is untyped
    """Feast's interface over ``OnlineTable`` and ``RedisOnlineTable``."""

    def __init__(self) -> None:
        self._tables: dict[tuple[OnlineAddress, str], Vectors] = {}
        self._questions: dict[tuple[str, str, bool], Question] = {}

    def online_write_batch(
        self, config: Any, table: Any, data: list[Written], progress: Callable[[int], Any] | None
    ) -> None:
        """Write rows; of one entity the row with the greatest revision stays, whatever the order.

        Raises:
            OutputError: a row has no ``revision``, or its entity or a feature is of a kind this store does not hold.
        """
        names = [field.name for field in table.features if field.name != REVISION]
        rows = [
            (_entity(key), _revision(values, table.name), _micros(at), [_number(values, name) for name in names])
            for key, values, at, _ in data
        ]
        self._table(config, rows_of(table)).write(names, rows)
        if progress:
            progress(len(rows))

    def online_read(
        self,
        config: Any,
        table: Any,
        entity_keys: list[Any],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Any] | None]]:
        """(event time, features) of each entity; (None, None) where there is none."""
        wanted = None if requested_features is None else set(requested_features)
        answers: list[tuple[datetime | None, dict[str, Any] | None]] = []
        for row in self._table(config, rows_of(table)).read([_entity(key) for key in entity_keys]):
            if row is None:
                answers.append((None, None))
                continue
            values = {
                name: Value(double_val=value) for name, value in row.values.items() if wanted is None or name in wanted
            }
            if wanted is None or REVISION in wanted:
                values[REVISION] = Value(int64_val=row.revision)
            answers.append((_EPOCH + row.event_time * _MICROSECOND, values))
        return answers

    def get_online_features(
        self,
        config: Any,
        features: Any,
        entity_rows: Any,
        registry: Any,
        project: str,
        full_feature_names: bool = False,
        include_feature_view_version_metadata: bool = False,
    ) -> Any:
        """Feast's answer. A service that it resolved before, by the registry as it is, is read without it.

        Everything else (features by name, several views, another key) goes Feast's own way, which checks it.
        """
        asked = (features, entity_rows, registry, project, full_feature_names, include_feature_view_version_metadata)
        if include_feature_view_version_metadata or not isinstance(features, FeatureService):
            return super().get_online_features(config, *asked)
        read_at = getattr(registry, "cached_registry_proto_created", None)
        if read_at is None or not registry.is_cache_valid():
            return super().get_online_features(config, *asked)
        key = (features.name, project, full_feature_names)
        question = self._questions.get(key)
        if question is not None and question.registry == read_at:
            persons = _persons(entity_rows, question.join_key)
            if persons is not None:
                return TableAnswer(question, persons, question.table.read(persons))
        answer = super().get_online_features(config, *asked)
        view = view_of(features, registry, project)
        if view is not None and len(view.join_keys) == 1:
            columns = columns_of(features, full_feature_names)
            table = self._table(config, rows_of(view))
            self._questions[key] = Question(read_at, table, view.join_keys[0], columns)
        return answer

    def update(
        self,
        config: Any,
        tables_to_delete: Sequence[Any],
        tables_to_keep: Sequence[Any],
        entities_to_delete: Sequence[Any],
        entities_to_keep: Sequence[Any],
        partial: bool,
    ) -> None:
        """Make the file; forget the rows of views that are gone."""
        for view in tables_to_keep:
            self._table(config, rows_of(view)).create()
        kept = {rows_of(view) for view in tables_to_keep}
        for rows in {rows_of(view) for view in tables_to_delete} - kept:
            self._table(config, rows).clear()

    def teardown(self, config: Any, tables: Sequence[Any], entities: Sequence[Any]) -> None:
        """Forget the rows of the views."""
        for view in tables:
            self._table(config, rows_of(view)).clear()

    def _table(self, config: Any, view: str) -> Vectors:
        address = _address(config)
        found = self._tables.get((address, view))
        if found is None:
            found = self._tables[address, view] = open_online(address, view)
        return found


def _address(config: Any) -> OnlineAddress:
    store = config.online_store
    if store.redis_env or store.redis_file:
        return OnlineAddress(redis=SecretReference(store.redis_env, store.redis_file), prefix=store.redis_prefix)
    path = Path(store.path)
    if not path.is_absolute() and config.repo_path:
        path = Path(config.repo_path) / path
    return OnlineAddress(path=path)


def rows_of(view: Any) -> str:
    """The name that a view's rows are kept under: its tag ``rows``, which versions of one view share, or its name."""
    return str(view.tags.get("rows", view.name))


def _persons(entity_rows: Any, join_key: str) -> list[str] | None:
    """The persons that rows of a question name; None where they name anything else besides."""
    if not isinstance(entity_rows, list):
        return None
    persons = [row[join_key] for row in entity_rows if len(row) == 1 and isinstance(row.get(join_key), str)]
    return persons if persons and len(persons) == len(entity_rows) else None


def _entity(key: Any) -> str:
    assert isinstance(key, EntityKey)
    if len(key.entity_values) != 1 or key.entity_values[0].WhichOneof("val") != "string_val":
        raise OutputError("the online store holds views of one text entity", hint="join on person_id alone")
    return str(key.entity_values[0].string_val)


def _revision(values: dict[str, Any], view: str) -> int:
    value = values.get(REVISION)
    if value is None or value.WhichOneof("val") != "int64_val":
        raise OutputError(
            f"a row of feature view {view} has no revision, so it cannot be ordered",
            hint=f"give the view a field {REVISION!r} of type Int64",
        )
    return int(value.int64_val)


def _number(values: dict[str, Any], name: str) -> float:
    value = values.get(name)
    kind = None if value is None else value.WhichOneof("val")
    if value is None or kind is None:
        return float("nan")
    if kind != "double_val":
        raise OutputError(f"feature {name} has {kind}", hint="the online store holds Float64 features")
    return float(value.double_val)


def _micros(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MICROSECOND
