"""A model for parity to score with: trained on a simulated world of its own, and in force from a given time on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.parity_worlds import KEYS
from contracts.event import DAY, Event
from models.evaluation import Gates
from models.registry import ModelRegistry
from models.training import TrainingSettings, train
from pipelines.commands.model import stage_definitions
from pipelines.run import run
from pipelines.run_options import RunOptions
from sources.simulator.config import WorldConfig
from sources.simulator.world import simulate

_GATES = Gates(max_ece=1.0, min_stage_recall=0.0)
"""How good the model is does not matter here: that it is the same everywhere does."""


def registry_of_a_model(work: Path, active_from: int, config: Path | None = None) -> Path:
    """A registry with one model, active from an event time on.

    Raises:
        ModelError: it could not be trained, or promoted.
    """
    # on a smaller world what is foreseen is worse than always saying the commonest stage, which no gate lets pass
    simulate(WorldConfig(customers=150, days=30, seed=5), work / "world")
    out = work / "trained"
    # the same persons in every training, so that training and test are split in the same way
    (out / "keys").mkdir(parents=True)
    for name, key in KEYS.items():
        (out / "keys" / name).write_text(key, encoding="ascii")
    run(RunOptions((str(work / "world" / "events"),), out, workers=1, config=config))
    definitions = stage_definitions(config)
    trained = train(out, definitions, TrainingSettings(window=DAY // 2))
    registry = ModelRegistry(out / "registry")
    registry.promote(
        trained.model.version,
        stages=definitions.stages,
        active_from=active_from,
        reason="parity",
        now=active_from,
        gates=_GATES,
        certain=definitions.certain,
    )
    return out / "registry"


def a_third_in(events: Sequence[Event]) -> int:
    """The event time before which a third of the events happened."""
    return sorted(event.event_time for event in events)[len(events) // 3]
