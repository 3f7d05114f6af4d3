"""A world that is simulated once for many tests."""

from __future__ import annotations

from pathlib import Path

from run_world import Record, read_events

from sources.simulator.config import WorldConfig
from sources.simulator.world import SimulationSummary, simulate


class World:
    """A simulated world: its folder, its summary, its records as a run would read them."""

    def __init__(self, folder: Path, config: WorldConfig) -> None:
        self.folder = folder
        self.summary: SimulationSummary = simulate(config, folder)
        self.events = folder / "events"
        self.records: list[Record] = read_events(self.events)
