"""Feast over our files: the generated repository, the online view, and training joins that leak nothing."""

from __future__ import annotations

import importlib.util
import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from contracts.errors import InputError, LockedError, OutputError
from contracts.event import DAY, HOUR
from contracts.exchange import OnlineFeatures
from contracts.tables import feature_tables
from features import names, offline, repository
from features.journey_features import FEATURE_NAMES, FEATURES, MODEL_INPUT_NAMES, feature_columns, model_inputs
from features.online_address import address_of, open_online
from features.online_writer import OnlineWriter
from pipelines.cli import wayline
from transforms.tables.batches import arrow_schema

T0 = 1_700_000_000_000_000
FEATURES_TABLE = feature_tables(feature_columns(), ())[0]


def write_part(out: Path, name: str, rows: list[dict[str, Any]]) -> None:
    """A part of the features table; ``x`` is the value of every feature."""
    schema = arrow_schema(FEATURES_TABLE)
    columns: dict[str, list[Any]] = {field.name: [] for field in schema}
    for row in rows:
        meta = {"revision": 1, "is_final": True, "is_deleted": False, "sequence": 0}
        given = {**meta, **dict.fromkeys(FEATURE_NAMES, row["x"]), **row}
        for column, values in columns.items():
            values.append(given.get(column))
    folder = out / "tables" / "features"
    folder.mkdir(parents=True, exist_ok=True)
    arrays = [pa.array(columns[field.name], type=field.type) for field in schema]
    pq.write_table(pa.table(arrays, schema=schema), folder / f"{name}.parquet")


def point(person: str, at: int, x: float, delay: int = 0, **more: Any) -> dict[str, Any]:
    return {"person_id": person, "at": at, "created": at + delay, "x": x, **more}


def asked(*moments: tuple[str, int]) -> pd.DataFrame:
    persons, times = zip(*moments, strict=True)
    return pd.DataFrame({"person_id": persons, "event_timestamp": pd.to_datetime(list(times), unit="us", utc=True)})


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder: a first run, and a second that corrected one point, deleted one person and added another."""
    made = tmp_path_factory.mktemp("out")
    write_part(
        made,
        "r000001-a",
        [
            point("p1", T0, 1.0),
            point("p1", T0 + DAY, 2.0, delay=6 * HOUR),
            point("p2", T0, 5.0),
            point("merged", T0, 9.0),
        ],
    )
    write_part(
        made,
        "r000002-delta",
        [
            point("p2", T0, 6.0, revision=2),
            point("merged", T0, 9.0, revision=2, is_deleted=True),
        ],
    )
    repository.apply(made)
    offline.materialise_history(made)
    return made


def test_history_holds_the_newest_revision_without_deleted_rows(out: Path) -> None:
    rows = pq.read_table(out / "feast" / names.HISTORY_FILE).to_pylist()
    assert sorted((row["person_id"], row["events_1d"], row["revision"]) for row in rows) == [
        ("p1", 1.0, 1),
        ("p1", 2.0, 1),
        ("p2", 6.0, 2),
    ]


def test_a_join_takes_what_was_known_at_the_moment(out: Path) -> None:
    entities = asked(
        ("p1", T0 - 1),  # before anything
        ("p1", T0),  # the first point, known at once
        ("p1", T0 + DAY + HOUR),  # the second point has happened, but was received later
        ("p1", T0 + DAY + 6 * HOUR),
        ("merged", T0 + DAY),
        ("unknown", T0 + DAY),
    )
    joined = offline.historical(out, entities.assign(label=range(6)))
    expected = [np.nan, 1.0, 1.0, 2.0, np.nan, np.nan]
    for name in FEATURE_NAMES:
        np.testing.assert_array_equal(joined[name], expected)
    assert list(joined["label"]) == list(range(6))


def test_a_join_keeps_rows_order_and_index(out: Path) -> None:
    rng = np.random.default_rng(0)
    moments = [(f"p{n % 3}", int(T0 + n)) for n in rng.permutation(500)]
    entities = asked(*moments).set_index(pd.Index(range(1_000, 1_500)))
    joined = offline.historical(out, entities, service=names.MODEL_SERVICE, materialise=False)
    assert list(joined.index) == list(entities.index)
    pd.testing.assert_frame_equal(joined[["person_id", "event_timestamp"]], entities, check_dtype=False)
    assert [name for name in joined.columns if name not in entities.columns] == list(MODEL_INPUT_NAMES)


def test_the_narrow_join_answers_as_an_exhaustive_search_does(tmp_path: Path) -> None:
    """Ties of points, late knowledge, moments asked twice: against a scan over all rows."""
    rng = np.random.default_rng(7)
    rows = [
        point(f"p{rng.integers(5)}", T0 + int(at) * HOUR, float(number), delay=int(rng.integers(0, 9)) * HOUR)
        for number, at in enumerate(rng.permutation(80))
    ]
    write_part(tmp_path, "r000001-a", rows)
    moments = [(f"p{rng.integers(6)}", T0 + int(rng.integers(-2, 90)) * HOUR) for _ in range(200)]
    joined = offline.historical(tmp_path, asked(*moments, *moments[:20]))
    expected = []
    for person, moment in [*moments, *moments[:20]]:
        known = [r for r in rows if r["person_id"] == person and max(r["at"], r["created"]) <= moment]
        expected.append(max(known, key=lambda r: r["at"])["x"] if known else np.nan)
    np.testing.assert_array_equal(joined["known"], expected)


def test_a_join_of_nothing_has_the_columns(out: Path) -> None:
    joined = offline.historical(out, asked(("p1", T0)).iloc[:0], materialise=False)
    assert joined.empty
    assert set(FEATURE_NAMES) <= set(joined.columns)


def test_entity_rows_of_another_shape_are_refused(out: Path) -> None:
    with pytest.raises(InputError, match="event_timestamp"):
        offline.historical(out, pd.DataFrame({"person_id": ["p1"]}))
    with pytest.raises(InputError, match="events_1d"):
        offline.historical(out, asked(("p1", T0)).assign(events_1d=1.0))


def test_an_output_folder_without_features_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no features") as caught:
        offline.materialise_history(tmp_path)
    assert "wayline run" in caught.value.hint


def test_a_damaged_part_is_one_clear_error_and_keeps_the_history(tmp_path: Path) -> None:
    write_part(tmp_path, "r000001-a", [point("p1", T0, 1.0)])
    before = offline.materialise_history(tmp_path).read_bytes()
    (tmp_path / "tables" / "features" / "r000002-b.parquet").write_bytes(b"PAR1 no parquet")
    with pytest.raises(OutputError, match="cannot be read"):
        offline.materialise_history(tmp_path)
    assert (tmp_path / "feast" / names.HISTORY_FILE).read_bytes() == before
    assert not list((tmp_path / "feast").glob("*.tmp"))


def test_a_feature_declared_later_is_null_in_older_parts(tmp_path: Path) -> None:
    write_part(tmp_path, "r000001-a", [point("p1", T0, 1.0)])
    part = tmp_path / "tables" / "features" / "r000001-a.parquet"
    pq.write_table(pq.read_table(part).drop_columns(["known"]), part)
    [row] = pq.read_table(offline.materialise_history(tmp_path)).to_pylist()
    assert (row["known"], row["trouble"]) == (None, 1.0)


def test_feast_reads_what_the_pipeline_wrote(out: Path) -> None:
    writer = OnlineWriter(address_of(out / "feast"))
    writer.setup()
    values = tuple(float(index) for index in range(len(FEATURES)))
    writer.write(OnlineFeatures((("on1", 3, T0, values), ("on2", 4, T0, values))))
    writer.flush()
    found = repository.read_online(out, ["on1", "nobody", "on2"])
    assert found == {
        "on1": {**dict(zip(FEATURE_NAMES, values, strict=True)), "revision": 3},
        "on2": {**dict(zip(FEATURE_NAMES, values, strict=True)), "revision": 4},
    }
    writer.write(OnlineFeatures((), ("on1",)))
    writer.flush()
    assert list(repository.read_online(out, ["on1", "on2"])) == ["on2"]


def test_rows_written_through_feast_keep_the_newest_revision_too(out: Path) -> None:
    store = repository.open_store(out)

    def push(revision: int, day: int) -> None:
        moment = datetime.fromtimestamp(T0 // 1_000_000 + day * 86_400, UTC)
        frame = pd.DataFrame([{"person_id": "via", "at": moment, "created": moment, "revision": revision}])
        store.write_to_online_store(names.VIEW, frame.assign(**dict.fromkeys(FEATURE_NAMES, float(revision))))

    push(2, 0)
    push(1, 5)
    assert repository.read_online(out, ["via"])["via"]["known"] == 2.0


def test_the_repository_file_says_the_same_as_the_registry(out: Path) -> None:
    folder = out / "feast"
    spec = importlib.util.spec_from_file_location("generated", folder / names.REPOSITORY_FILE)
    assert spec is not None
    assert spec.loader is not None
    generated = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generated)
    expected = repository.objects((folder / names.HISTORY_FILE).resolve())
    for made in expected:
        assert getattr(generated, made.name) == made
    store = repository.open_store(out)
    assert {view.name for view in store.list_feature_views()} == {"journey_v1", names.VIEW}
    assert {service.name for service in store.list_feature_services()} == {
        "stage_model_v1",
        "journey_features_v1",
        names.MODEL_SERVICE,
        names.JOURNEY_SERVICE,
    }


def test_the_version_before_is_served_from_the_same_rows(out: Path) -> None:
    writer = OnlineWriter(address_of(out / "feast"))
    writer.setup()
    values = tuple(float(index) for index in range(len(FEATURES)))
    writer.write(OnlineFeatures((("both", 3, T0, values),)))
    writer.flush()
    store = repository.open_store(out)
    found = store.get_online_features(
        features=store.get_feature_service("stage_model_v1"), entity_rows=[{"person_id": "both"}]
    ).to_dict()
    expected = {name: [values[FEATURE_NAMES.index(name)]] for name in model_inputs("journey:v1")}
    assert found == {"person_id": ["both"], **expected}
    joined = offline.historical(out, asked(("p1", T0)), service="stage_model_v1", materialise=False)
    assert list(joined.columns[2:]) == list(model_inputs("journey:v1"))


@pytest.mark.parametrize("service", [names.JOURNEY_SERVICE, names.MODEL_SERVICE, "stage_model_v1"])
@pytest.mark.parametrize("full_names", [False, True])
def test_an_answer_read_past_feast_is_the_one_feast_gives(out: Path, service: str, full_names: bool) -> None:
    """The first question goes Feast's own way, the second is answered from the rows: the same to the last field."""
    writer = OnlineWriter(address_of(out / "feast"))
    writer.setup()
    values = tuple(float(index) for index in range(len(FEATURES)))
    writer.write(OnlineFeatures((("here", 3, T0 + 1, values), ("gone", 3, T0, values))))
    writer.write(OnlineFeatures((), ("gone",)))
    writer.flush()
    # a row of before the newest features were declared
    open_online(address_of(out / "feast")).write(FEATURE_NAMES[:40], [("older", 2, T0 + 1_500_000, values[:40])])
    store = repository.open_store(out)
    rows = [{"person_id": person} for person in ("here", "gone", "older", "never", "here")]
    asking = {"features": store.get_feature_service(service), "entity_rows": rows, "full_feature_names": full_names}
    feasts, ours = (store.get_online_features(**asking) for _ in range(2))
    assert [type(answer).__name__ for answer in (feasts, ours)] == ["OnlineResponse", "TableAnswer"]
    for times in (False, True):
        assert ours.to_dict(times) == feasts.to_dict(times)
        assert ours.to_df(times).sort_index(axis=1).equals(feasts.to_df(times).sort_index(axis=1))
    told, other = (dict(zip(a.proto.metadata.feature_names.val, a.proto.results, strict=True)) for a in (ours, feasts))
    assert told == other
    # what is not that plain a question goes Feast's own way again
    for other_rows in ({"person_id": ["here"]}, [{"person_id": "here", "more": 1}]):
        assert type(store.get_online_features(**{**asking, "entity_rows": other_rows})).__name__ == "OnlineResponse"
    store.refresh_registry()
    anew = [type(store.get_online_features(**asking)).__name__ for _ in range(2)]
    assert anew == ["OnlineResponse", "TableAnswer"], "resolved anew, since it may have changed"


def test_generated_files_name_no_absolute_path(out: Path) -> None:
    for name in (names.CONFIG_FILE, names.REPOSITORY_FILE, "applied.json"):
        assert str(out) not in (out / "feast" / name).read_text(encoding="utf-8")


def test_an_output_folder_that_moved_still_answers(out: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(out, moved)
    shutil.rmtree(moved / "tables" / "features")
    write_part(moved, "r000001-a", [point("p1", T0, 77.0)])
    joined = offline.historical(moved, asked(("p1", T0)))
    assert joined["known"].tolist() == [77.0]


def test_apply_from_the_command_line_again_is_harmless(out: Path) -> None:
    for _ in range(2):
        result = CliRunner().invoke(wayline, ["features", "apply", "--out", str(out)], catch_exceptions=False)
        assert result.exit_code == 0
        assert f"{len(FEATURES)} features" in result.output


def test_the_list_names_every_feature() -> None:
    result = CliRunner().invoke(wayline, ["features", "list", "--markdown"], catch_exceptions=False)
    assert all(f"`{name}`" in result.output for name in FEATURE_NAMES)


def test_a_damaged_registry_is_one_clear_error(tmp_path: Path, out: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    (copy / "feast" / names.REGISTRY_FILE).write_bytes(b"no database, but long enough to be taken for one" * 100)
    with pytest.raises(OutputError, match=r"registry\.db") as caught:
        repository.apply(copy)
    assert "wayline features apply" in caught.value.hint


def test_a_registry_held_by_another_process_is_one_clear_error(tmp_path: Path, out: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    holder = sqlite3.connect(copy / "feast" / names.REGISTRY_FILE, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LockedError, match=r"registry\.db"):
        repository.apply(copy)
    holder.execute("ROLLBACK")
    assert repository.apply(copy) == len(FEATURES)
