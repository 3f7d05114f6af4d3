"""The fast encoder writes exactly what fastavro would."""

from __future__ import annotations

import io
from pathlib import Path

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import codec
from contracts.event_codec import event_from_record, event_to_record
from sources.simulator import avro
from sources.simulator.arrival import arrive
from sources.simulator.avro import ContainerWriter, EventColumns
from sources.simulator.config import Segment, WorldConfig
from sources.simulator.life import live

CONFIG = WorldConfig(
    customers=20, days=40, seed=11, malformed_share=0.05, conflict_share=0.02, erasure_share=0.2, opt_out_share=0.5
)


@pytest.fixture(scope="module")
def columns() -> EventColumns:
    segment = Segment(CONFIG.start, CONFIG.end)
    return arrive(CONFIG, 0, 0, segment, live(CONFIG, 0, 0, segment)).columns


def test_every_record_equals_the_one_fastavro_writes(columns: EventColumns) -> None:
    fast, plain = avro.encode_events(columns), avro.plain_events(columns)
    assert len(fast) == len(plain) > 1_000
    for data, record in zip(fast, plain, strict=True):
        assert data == codec.encode("event", record)


@pytest.mark.parametrize("codec_name", ["deflate", "null"])
def test_a_container_is_read_back_by_fastavro_record_by_record(
    columns: EventColumns, tmp_path: Path, codec_name: str
) -> None:
    writer = ContainerWriter(tmp_path / "events.avro", codec_name=codec_name, seed="1")
    writer.write(avro.encode_events(columns))
    writer.close()
    with (tmp_path / "events.avro").open("rb") as file:
        reader = fastavro.reader(file)
        assert fastavro.schema.to_parsing_canonical_form(reader.writer_schema) == (
            fastavro.schema.to_parsing_canonical_form(codec.raw_schema("event"))
        )
        read = list(reader)
    twin = io.BytesIO()
    fastavro.writer(twin, codec.raw_schema("event"), avro.plain_events(columns))
    twin.seek(0)
    assert read == list(fastavro.reader(twin))


def test_an_event_survives_the_contract_both_ways(columns: EventColumns) -> None:
    for record in avro.plain_events(columns)[:500]:
        assert event_to_record(event_from_record(record)) == record


def test_a_file_has_its_name_only_once_it_is_whole(columns: EventColumns, tmp_path: Path) -> None:
    writer = ContainerWriter(tmp_path / "events.avro", codec_name="null", seed="1")
    writer.write(avro.encode_events(columns)[:10])
    assert not (tmp_path / "events.avro").exists()
    writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["events.avro"]


@given(st.integers(-(2**63), 2**63 - 1))
def test_longs_are_zigzag_varints(value: int) -> None:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, "long", value)
    assert avro.long(value) == out.getvalue()


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats() | st.text()))
def test_properties_are_encoded_as_the_schema_says(value: dict[str, bool | int | float | str | None]) -> None:
    schema = {"type": "map", "values": ["null", "boolean", "long", "double", "string"]}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, value)
    assert avro.scalars(value) == out.getvalue()
