"""GoogleSQL by Google's own analyser and reference engine, for tests: what ``make googlesql`` puts together.

BigQuery's language is GoogleSQL, whose analyser and reference implementation are open (ZetaSQL); here they run inside
the process, compiled to WebAssembly. They know more functions than BigQuery has, and none of its limits.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "build" / "googlesql"
COMPILED = FOLDER / "zetasql.cwasm"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Relation = tuple[Sequence[tuple[str, str]], Sequence[Sequence[object]]]
"""Columns of a table, each with its GoogleSQL type, and its rows."""

_KINDS = {"INT64": 2, "BOOL": 5, "FLOAT64": 7, "STRING": 8, "BYTES": 9, "DATE": 10, "TIMESTAMP": 19}
_NAMES = {number: name for name, number in _KINDS.items()}


class GoogleSqlError(Exception):
    """What the analyser or the engine has against a query."""


class GoogleSql:
    """One engine. ``analyse`` says the columns of a query, ``rows`` what it gives; neither keeps anything."""

    def __init__(self) -> None:
        messages = "zetasql.wasi._pb2.zetasql"
        wasmtime, options = _imported("wasmtime"), _imported(f"{messages}.proto.options_pb2")
        self._local = _imported(f"{messages}.local_service.local_service_pb2")
        engine = _engine(wasmtime)
        self._store = wasmtime.Store(engine)
        wasi = wasmtime.WasiConfig()
        zones = Path(_imported("tzdata").__file__).parent / "zoneinfo"
        wasi.preopen_dir(str(zones), "/usr/share/zoneinfo")
        self._store.set_wasi(wasi)
        linker = wasmtime.Linker(engine)
        linker.define_wasi()
        module = wasmtime.Module.deserialize_file(engine, str(COMPILED))
        self._exports = linker.instantiate(self._store, module).exports(self._store)
        self._exports["_initialize"](self._store)
        asked = self._local.LanguageOptionsRequest(maximum_features=True)
        self._language = self._call("GetLanguageOptions", asked, options.LanguageOptionsProto)
        self._language.product_mode = _imported(f"{messages}.public.options_pb2").PRODUCT_EXTERNAL
        # none named: all kinds of statements
        self._language.ClearField("supported_statement_kinds")

    def analyse(self, statements: Sequence[str], relations: Mapping[str, Relation], dataset: str) -> list[str]:
        """The kinds of statements that are each well formed over the tables of a dataset.

        Raises:
            GoogleSqlError: one is not.
        """
        held = self._local.RegisterCatalogRequest()
        held.simple_catalog.builtin_function_options.language_options.CopyFrom(self._language)
        inner = held.simple_catalog.catalog.add(name=dataset)
        for name, (columns, _) in relations.items():
            _declare(inner.table.add(name=name), columns)
        # once for all: to set up the functions costs more than to analyse a statement
        number = self._call("RegisterCatalog", held, self._local.RegisterResponse).registered_id
        kinds = []
        for statement in statements:
            request = self._local.AnalyzeRequest(sql_statement=statement, registered_catalog_id=number)
            request.options.language_options.CopyFrom(self._language)
            answer = self._call("Analyze", request, self._local.AnalyzeResponse)
            kinds.append(str(answer.resolved_statement.WhichOneof("node")))
        return kinds

    def rows(
        self, query: str, relations: Mapping[str, Relation], parameters: Mapping[str, tuple[str, object]] | None = None
    ) -> Relation:
        """Columns and rows of a query that names tables without a dataset, as ``@name`` its parameters.

        Raises:
            GoogleSqlError: it is not well formed, or fails.
        """
        request = self._local.EvaluateQueryRequest(sql=query)
        request.options.language_options.CopyFrom(self._language)
        request.simple_catalog.builtin_function_options.language_options.CopyFrom(self._language)
        for name, (columns, rows) in relations.items():
            _declare(request.simple_catalog.table.add(name=name), columns)
            data = request.table_content[name].table_data
            for row in rows:
                held = data.row.add()
                for (_, kind), value in zip(columns, row, strict=True):
                    _put(held.cell.add(), kind, value)
        for name, (kind, value) in (parameters or {}).items():
            given = request.options.query_parameters.add(name=name)
            given.type.type_kind = _KINDS[kind]
            held = request.params.add(name=name)
            _put(held.value, kind, value)
        answer = self._call("EvaluateQuery", request, self._local.EvaluateQueryResponse)
        columns = [(column.name, _NAMES[column.type.type_kind]) for column in answer.prepared.columns]
        found = [[_taken(cell) for cell in row.cell] for row in answer.content.table_data.row]
        return columns, found

    def _call(self, name: str, request: Any, answer: type[Any]) -> Any:
        """One call of the engine's service: messages go in and come out through its memory."""
        store, exports = self._store, self._exports
        sent = request.SerializeToString()
        place, size_place = exports["wasm_malloc"](store, max(1, len(sent))), exports["wasm_malloc"](store, 4)
        try:
            ctypes.memmove(self._address(place), sent, len(sent))
            found = exports[f"ZetaSqlLocalService_{name}"](store, place, len(sent), size_place)
            if not found:
                length = exports["wasm_get_last_error_size"](store)
                raise GoogleSqlError(self._read(exports["wasm_get_last_error"](store), length).decode())
            length = int.from_bytes(self._read(size_place, 4), "little")
            held = self._read(found, length)
            exports["wasm_free"](store, found)
        finally:
            exports["wasm_free"](store, place)
            exports["wasm_free"](store, size_place)
        return answer.FromString(held)

    def _address(self, place: int) -> int:
        start = ctypes.cast(self._exports["memory"].data_ptr(), ctypes.c_void_p).value
        assert start is not None
        return start + place

    def _read(self, place: int, length: int) -> bytes:
        return ctypes.string_at(self._address(place), length)


def find_googlesql() -> GoogleSql | None:
    """The engine, or None where ``make googlesql`` was not run."""
    return GoogleSql() if COMPILED.exists() else None


def _imported(name: str) -> Any:
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    return importlib.import_module(name)


def _engine(wasmtime: Any) -> Any:
    config = wasmtime.Config()
    config.shared_memory = True
    return wasmtime.Engine(config)


def _declare(table: Any, columns: Sequence[tuple[str, str]]) -> None:
    for name, kind in columns:
        table.column.add(name=name).type.type_kind = _KINDS[kind]


def _put(cell: Any, kind: str, value: object) -> None:
    if value is None:
        return
    if isinstance(value, datetime):
        micros = (value - _EPOCH) // timedelta(microseconds=1)
        cell.timestamp_value.seconds, cell.timestamp_value.nanos = micros // 1_000_000, micros % 1_000_000 * 1_000
    elif isinstance(value, date):
        cell.date_value = (value - _EPOCH.date()).days
    else:
        field = {"INT64": "int64", "BOOL": "bool", "FLOAT64": "double", "STRING": "string", "BYTES": "bytes"}[kind]
        setattr(cell, f"{field}_value", float(value) if kind == "FLOAT64" else value)  # type: ignore[arg-type]


def _taken(cell: Any) -> object:
    field = cell.WhichOneof("value")
    if field is None:
        return None
    value = getattr(cell, field)
    if field == "timestamp_value":
        return _EPOCH + timedelta(seconds=value.seconds, microseconds=value.nanos // 1_000)
    return _EPOCH.date() + timedelta(days=value) if field == "date_value" else value


def _compile() -> None:
    """Put what the package brings into the machine's own code: half a minute, once."""
    wasmtime, wasi = _imported("wasmtime"), _imported("zetasql.wasi")
    module = wasmtime.Module.from_file(_engine(wasmtime), wasi.get_wasm_path())
    COMPILED.write_bytes(module.serialize())


if __name__ == "__main__":
    _compile()
