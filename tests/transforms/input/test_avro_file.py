"""Files of any codec are read; damage costs only what is damaged, and is kept so that it can be read again."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import cramjam
import pytest

from contracts.event import Event
from contracts.event_reader import read_long
from transforms import avro_file
from transforms.avro_file import CODECS, Damage, places_to_cut, read_events

Maker = Callable[..., Event]
Container = Callable[..., bytes]


def read(data: bytes) -> tuple[list[Event], list[Damage]]:
    items = list(read_events(io.BytesIO(data)))
    return [i for i in items if isinstance(i, Event)], [i for i in items if isinstance(i, Damage)]


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz", "snappy"])
def test_every_codec_that_the_library_writes_is_read(make_event: Maker, make_file: Container, codec: str) -> None:
    events = [make_event(n) for n in range(50)]
    assert read(make_file(events, codec)) == (events, [])


def _renamed(name: bytes, data: bytes) -> bytes:
    """A header that names another codec."""
    start = data.index(b"avro.codec") + len(b"avro.codec")
    length = data[start] // 2
    return data[:start] + bytes([2 * len(name)]) + name + data[start + 1 + length :]


@pytest.mark.parametrize(
    ("name", "pack"),
    [(b"zstandard", cramjam.zstd.compress), (b"lz4", lambda d: cramjam.lz4.compress_block(d))],
)
def test_codecs_whose_libraries_are_not_installed_are_read_too(
    make_event: Maker, make_file: Container, name: bytes, pack: Callable[[bytes], bytes]
) -> None:
    events = [make_event(n) for n in range(3)]
    _, end, _ = avro_file.open_header(plain := make_file(events, interval=1 << 20))
    count, at = read_long(plain, end)
    size, at = read_long(plain, at)
    packed = bytes(pack(plain[at : at + size]))
    length = len(packed) << 1
    framed = bytes([count << 1, length & 127 | 128, length >> 7]) + packed + plain[at + size :]
    assert read(_renamed(name, plain[:end]) + framed) == (events, [])


def test_a_file_cut_anywhere_gives_its_readable_events_and_one_rest(make_event: Maker, make_file: Container) -> None:
    events = [make_event(n) for n in range(30)]
    whole = make_file(events)
    ends = {i + 16 for i in range(len(whole)) if whole.startswith(b"0123456789abcdef", i)}
    for cut in [0, 3, 500, *range(whole.index(b"0123456789abcdef") - 40, len(whole), 97)]:
        found, damage = read(whole[:cut])
        assert found == events[: len(found)]
        assert len(damage) <= 1
        assert damage or cut in ends, "only a cut between two blocks goes unnoticed"
        if damage:
            assert damage[0].reason in ("not_avro", "truncated")
            again, rest = read(damage[0].payload)
            assert rest == damage, "replayed, the rest is the same rest"
            assert again == found[len(found) - len(again) :], "and gives nothing new"


@pytest.mark.parametrize("codec", ["null", "deflate"])
@pytest.mark.parametrize("own", [True, False], ids=["newest schema", "another schema"])
def test_of_a_cut_block_the_events_before_the_cut_are_read(
    make_event: Maker, make_file: Container, codec: str, own: bool
) -> None:
    events = [make_event(n) for n in range(30)]
    whole = make_file(events, codec, interval=1 << 20)
    if not own:  # of the same size, and another name is no obstacle to a writer's own default
        whole = whole.replace(b'"device_class"', b'"device_glass"')
    _, end, decoder = avro_file.open_header(whole)
    assert decoder.is_own == own
    events = [e if own else replace(e, device_class=None) for e in events]
    counts = []
    for cut in range(end + 1, len(whole), 61):
        found, damage = read(whole[:cut])
        assert found == events[: len(found)]
        assert [d.reason for d in damage] == ["truncated"]
        counts.append(len(found))
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert 10 < counts[len(counts) // 2] < 20 if codec == "null" else counts[len(counts) // 2] > 0
    assert read(whole[:-8])[0] == events, "only the marker is missing"


def test_a_broken_block_costs_itself_and_reading_goes_on(make_event: Maker, make_file: Container) -> None:
    events = [make_event(n) for n in range(60)]
    whole = bytearray(make_file(events, "deflate"))
    marks = [i for i in range(len(whole)) if whole.startswith(b"0123456789abcdef", i)]
    assert len(marks) > 3
    whole[marks[1] - 40] ^= 0xFF
    found, damage = read(bytes(whole))
    assert [d.reason for d in damage] == ["corrupt_block"]
    assert found[-1] == events[-1]
    assert 0 < len(events) - len(found) < 30
    again, rest = read(damage[0].payload)
    assert rest == damage
    assert {e.event_id for e in again} <= {e.event_id for e in found}


def test_bytes_between_blocks_are_one_damage_up_to_the_next_marker(make_event: Maker, make_file: Container) -> None:
    events = [make_event(n) for n in range(40)]
    whole = make_file(events)
    marks = [i + 16 for i in range(len(whole)) if whole.startswith(b"0123456789abcdef", i)]
    place = marks[1]  # after the first block; marks[0] ends the header
    found, damage = read(whole[:place] + b"\xff" * 5000 + whole[place:])
    assert [d.reason for d in damage] == ["corrupt_block"]
    assert found[0] == events[0]
    assert found[-1] == events[-1]


@pytest.mark.parametrize("data", [b"", b"Obj\x01", b"PAR1 something else", b"{}\n", b"\x1f\x8b" + b"0" * 100])
def test_a_foreign_file_is_one_damage_with_all_its_bytes(data: bytes) -> None:
    found, damage = read(data)
    assert found == []
    assert [(d.reason, d.payload) for d in damage] == [("not_avro", data)]


def test_of_a_huge_foreign_file_the_beginning_is_kept_and_the_size_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avro_file, "MAX_KEPT", 1_000)
    _, (damage,) = read(b"x" * 300_000)
    assert damage.payload == b"x" * 1_000
    assert "300000 bytes" in damage.detail


@pytest.mark.parametrize("name", sorted(set(CODECS) - {"null"}))
def test_no_codec_inflates_beyond_the_limit(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    import bz2
    import lzma
    import zlib

    big = b"\0" * 2_000_000
    raw_deflate = zlib.compressobj(wbits=-15)
    bombs = {
        "deflate": raw_deflate.compress(big) + raw_deflate.flush(),
        "bzip2": bz2.compress(big),
        "xz": lzma.compress(big),
        "snappy": bytes(cramjam.snappy.compress_raw(big)) + zlib.crc32(big).to_bytes(4, "big"),
        "lz4": bytes(cramjam.lz4.compress_block(big)),
        "zstandard": bytes(cramjam.zstd.compress(big)),
    }
    assert CODECS[name](bombs[name]) == big
    monkeypatch.setattr(avro_file, "MAX_INFLATED", 1_000_000)
    with pytest.raises(ValueError, match="limit"):
        CODECS[name](bombs[name])


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy"])
def test_no_mutation_of_a_file_escapes_as_an_exception(make_event: Maker, make_file: Container, codec: str) -> None:
    rng = random.Random(codec)
    whole = make_file([make_event(n) for n in range(8)], codec, 600)
    for _ in range(150):
        for item in read_events(io.BytesIO(_mutated(whole, rng, rng.randrange(1, 6)))):
            assert isinstance(item, (Event, Damage))


def _mutated(data: bytes, rng: random.Random, times: int) -> bytes:
    """The data with bytes changed, removed and added."""
    found = bytearray(data)
    for _ in range(times):
        at = rng.randrange(len(found))
        action = rng.randrange(3)
        if action == 0:
            found[at] = rng.randrange(256)
        elif action == 1:
            del found[at : at + rng.randrange(40)]
        else:
            found[at:at] = rng.randbytes(rng.randrange(20))
    return bytes(found)


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_pieces_of_a_file_give_together_what_the_file_gives_whatever_is_damaged(
    make_event: Maker, make_file: Container, codec: str
) -> None:
    rng = random.Random(codec)
    whole = make_file([make_event(n) for n in range(80)], codec, 600)
    cut = 0
    for number in range(120):
        data = _mutated(whole, rng, number % 4)
        pieces = 1 + number % 9
        places = places_to_cut(io.BytesIO(data), pieces, len(data))
        assert len(places) == pieces - 1 or number % 4
        found = [
            item
            for start, end in zip((0, *places), (*places, None), strict=True)
            for item in read_events(io.BytesIO(data), start, end)
        ]
        assert found == list(read_events(io.BytesIO(data)))
        cut += len(places)
    assert cut > 150


def test_a_file_is_cut_into_pieces_of_about_the_same_size(make_event: Maker, make_file: Container) -> None:
    data = make_file([make_event(n) for n in range(400)], "null", 600)
    _, begin, _ = avro_file.open_header(data)
    sizes = [b - a for a, b in pairwise((begin, *places_to_cut(io.BytesIO(data), 5, len(data)), len(data)))]
    assert len(sizes) == 5
    assert max(sizes) - min(sizes) < len(data) / 20
