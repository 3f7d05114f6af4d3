"""What OUT knew at a time, ready to be folded again: events, horizon, ontologies and models.

Input: an output folder, the project's definitions, a time. Output: ``Known``. Nothing is written. Units: UTC
microseconds. Errors: ``OutputError`` for what is no output folder, ``InputError`` when nothing was known,
``ConfigurationError`` and ``ModelError`` for what stops a run too. State: none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.ontology_registry import OntologyRegistry
from models.scoring import load_activated, score_points
from pipelines.definitions import Definitions
from pipelines.plan import read_marks, read_tombstones
from pipelines.registry_used import registry_used
from reports.history import History, history_of_output
from transforms.identity.rules_file import load_rules
from transforms.journey.dated import DatedOntologies
from transforms.journey.worker import Score
from transforms.tables.output import check_readable


@dataclass(frozen=True)
class Known:
    """``score`` is None where no model was ever in force."""

    history: History
    horizon: int
    ontologies: DatedOntologies
    score: Score | None


def known_by(out: Path, definitions: Definitions, at: int | None, registry: Path | None = None) -> Known:
    """What had happened and had been received by ``at``; None: everything, up to the latest event.

    What is erased by now is not there, and models and ontologies are those of their dates, as a run has them today.
    """
    folder = check_readable(out)
    tombstones = read_tombstones(folder)
    rules = load_rules(definitions.config.identity)
    history = history_of_output(folder, rules, tombstones, read_marks(folder, tombstones), at)
    root, ontology = registry or registry_used(folder), definitions.ontology
    models = load_activated(root, ontology.stage_names)

    def score(times: Any, matrix: Any) -> tuple[list[str | None], Any]:
        return score_points(models, times, matrix, len(ontology.stages))

    dated = OntologyRegistry(root).dated(ontology) or DatedOntologies.of(ontology)
    return Known(history, history.horizon if at is None else at, dated, score if models else None)
