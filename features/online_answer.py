"""What Feast answers to one question after another, made straight from rows of the online table.

Feast builds a protobuf of every value and takes it apart again: ten times the CPU of reading the row. How a question is
resolved (which view, which names, whether it may be served) is left to Feast at the first time and whenever its
registry was read again; ``Question`` keeps that. ``TableAnswer`` is an ``OnlineResponse`` whose protobuf is made when
somebody asks for it. Importing this module imports Feast.

Input: rows of ``features.online_table``. Output: Feast's answers. Times: UTC microseconds. Errors: none. State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from feast.feature_service import FeatureService
from feast.feature_view import FeatureView
from feast.online_response import TIMESTAMP_POSTFIX, OnlineResponse
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse
from feast.protos.feast.types.Value_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from features.online_address import Vectors
from features.online_table import OnlineRow

REVISION = "revision"
_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Question:
    """A feature service that Feast resolved.

    Attributes:
        registry: when the registry was read by which it was resolved.
        table: where its rows are.
        join_key: the name of the person in question and answer.
        columns: (name in the answer, feature), in order.
    """

    registry: datetime
    table: Vectors
    join_key: str
    columns: tuple[tuple[str, str], ...]


def view_of(service: FeatureService, registry: Any, project: str) -> FeatureView | None:
    """The one view that a service reads as it is; None where Feast has more to do than to read it."""
    projections = service.feature_view_projections
    if len(projections) != 1 or getattr(service, "precompute_online", False):
        return None
    (projection,) = projections
    if projection.join_key_map or projection.version_tag is not None:
        return None
    view = registry.get_any_feature_view(projection.name, project, allow_cache=True)
    return view if type(view) is FeatureView else None


def columns_of(service: FeatureService, full_names: bool) -> tuple[tuple[str, str], ...]:
    """(name in the answer, feature) of the one view of a service."""
    (projection,) = service.feature_view_projections
    before = f"{projection.name_to_use()}__" if full_names else ""
    return tuple((before + field.name, field.name) for field in projection.features)


class TableAnswer(OnlineResponse):  # type: ignore[misc]  # Feast is untyped
    """The answer for some persons: what Feast's own would say, from the rows themselves."""

    def __init__(self, question: Question, persons: Sequence[str], rows: Sequence[OnlineRow | None]) -> None:
        self._question = question
        self._persons = persons
        self._rows = rows
        self._made: Any = None
        self._feature_types: dict[str, Any] = {}

    @property
    def proto(self) -> Any:
        """Feast's protobuf of the answer."""
        if self._made is None:
            self._made = self._protobuf()
        return self._made

    def to_dict(self, include_event_timestamps: bool = False) -> dict[str, Any]:
        """Name to the values of the persons, None where there is none."""
        question = self._question
        told: dict[str, Any] = {question.join_key: list(self._persons)}
        if include_event_timestamps:
            told[question.join_key + TIMESTAMP_POSTFIX] = [0] * len(self._persons)
        times = [0 if row is None else row.event_time // _SECOND for row in self._rows]
        for name, feature in question.columns:
            told[name] = [_number(row, feature) for row in self._rows]
            if include_event_timestamps:
                told[name + TIMESTAMP_POSTFIX] = list(times)
        return told

    def _protobuf(self) -> Any:
        made = GetOnlineFeaturesResponse(results=[])
        _add(made, self._question.join_key, [Value(string_val=one) for one in self._persons], [0] * len(self._persons))
        times = [0 if row is None else row.event_time for row in self._rows]
        for name, feature in self._question.columns:
            _add(made, name, [_value(row, feature) for row in self._rows], times)
        return made


def _number(row: OnlineRow | None, feature: str) -> float | int | None:
    if row is None:
        return None
    return row.revision if feature == REVISION else row.values.get(feature)


def _value(row: OnlineRow | None, feature: str) -> Value | None:
    number = _number(row, feature)
    if number is None:
        return None
    return Value(int64_val=int(number)) if feature == REVISION else Value(double_val=number)


def _add(made: Any, name: str, values: Sequence[Value | None], times: Sequence[int]) -> None:
    made.metadata.feature_names.val.append(name)
    made.results.append(
        GetOnlineFeaturesResponse.FeatureVector(
            values=[Value() if value is None else value for value in values],
            statuses=[FieldStatus.NOT_FOUND if value is None else FieldStatus.PRESENT for value in values],
            event_timestamps=[Timestamp(seconds=at // _SECOND, nanos=at % _SECOND * 1_000) for at in times],
        )
    )
