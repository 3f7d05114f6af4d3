"""A second stream on an OUT goes on from the first: persons who are not seen again stand at its horizon too."""

from __future__ import annotations

from shutil import copytree

import pytest

from pipelines.definitions import load_definitions
from pipelines.run import run
from pipelines.run_options import RunOptions
from pipelines.stream import stream
from pipelines.stream_plan import StreamOptions
from pipelines.table_sink import DIRECT
from reports.table_diff import Difference, chosen_tables, compare
from sources.simulator.config import WorldConfig
from sources.simulator.world import simulate


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> list[Difference]:
    """The tables of a bounded run beside those of two streams, of a half of the events each."""
    folder = tmp_path_factory.mktemp("two-streams")
    files = [str(path) for path in simulate(WorldConfig(customers=6, days=6, seed=5), folder / "world").files]
    run(RunOptions(tuple(files), folder / "bounded"))
    copytree(folder / "bounded" / "keys", folder / "out" / "keys")
    half = len(files) // 2
    for part in (files[:half], files[half:]):
        stream(StreamOptions(folder / "out", tuple(part), runner=DIRECT))
    return compare(folder / "bounded", folder / "out", chosen_tables(load_definitions(None).tables, [], False))


def test_two_streams_give_the_tables_of_one_bounded_run(compared: list[Difference]) -> None:
    assert [one.table for one in compared if not one.equal] == []
