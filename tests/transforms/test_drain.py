"""The files by which a stream comes to its end."""

from __future__ import annotations

from pathlib import Path

from transforms.drain import DrainFlag, take_down


def test_nothing_is_raised_where_there_is_no_file(tmp_path: Path) -> None:
    assert not DrainFlag(None, or_ended=True).is_raised(0.0)
    assert not DrainFlag(str(tmp_path / "1.drain")).is_raised(0.0)


def test_it_looks_at_the_disk_a_few_times_a_second_at_most(tmp_path: Path) -> None:
    path = tmp_path / "1.drain"
    flag = DrainFlag(str(path))
    assert not flag.is_raised(10.0)
    path.touch()
    assert not flag.is_raised(10.2)
    assert flag.is_raised(10.3)


def test_once_raised_it_stays_so(tmp_path: Path) -> None:
    path = tmp_path / "1.drain"
    path.touch()
    flag = DrainFlag(str(path))
    assert flag.is_raised(0.0)
    path.unlink()
    assert flag.is_raised(9.0)


def test_an_end_by_itself_is_seen_by_stages_and_asks_no_source_for_anything(tmp_path: Path) -> None:
    path = str(tmp_path / "1.drain")
    DrainFlag(path).say_ended()
    assert DrainFlag(path, or_ended=True).is_raised(0.0)
    assert not DrainFlag(path).is_raised(0.0)
    DrainFlag(None).say_ended()


def test_a_stream_that_starts_takes_both_down(tmp_path: Path) -> None:
    path = tmp_path / "1.drain"
    path.touch()
    DrainFlag(str(path)).say_ended()
    take_down(path)
    take_down(path)
    assert list(tmp_path.iterdir()) == []
