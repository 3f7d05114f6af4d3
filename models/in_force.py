"""The registries of a folder as a stream reads them: again and again, since others may be activated while it runs.

Purpose: an activation takes force in a running stream at its date (``transforms.journey.live.following.InForce``).
Input: the folder, the project's ontology, a clock. Output: how many records there are, and what so many put in force.
Units: event time in microseconds; the clock in seconds. State: what was last read; one a process, for its threads.

Looking is a stat of two files every ``LOOK_EVERY`` seconds. An ontology with other stages is followed like any other.
A model that knows those is not: what it says has columns of its own in the tables, which are those of the project's
stages when the stream began. What cannot be followed, since of that or since it cannot be read or does not load, leaves
in force what is, and is looked at again: it is logged and told (``refusal``), and no stream stops for it.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from contracts.errors import ConfigurationError, ModelError, WaylineError
from models.activations import Activation, Activations, read_activations
from models.bundle import LoadedModel
from models.ontology_registry import POINTER as ONTOLOGIES
from models.ontology_registry import OntologyRegistry
from models.scoring import POINTER as MODELS
from models.scoring import load_models, score_points
from transforms.journey.dated import Activated, DatedOntologies
from transforms.journey.live.following import Force
from transforms.journey.ontology import Ontology

LOOK_EVERY = 2.0
_log = logging.getLogger(__name__)
_Stamp = tuple[int, int] | None


class Registries:
    """What is in force when, by a registry folder.

    Args:
        root: the folder; it need not exist yet.
        given: the project's ontology, with what overrides it.
        clock: seconds of a monotonic clock.
        begun: of how many records it is known that they can be used: those there were when the stream began. A process
            that begins later goes on by as many more as can be.

    Raises:
        ConfigurationError, ModelError: what is in force cannot be used.
    """

    def __init__(
        self,
        root: Path,
        given: Ontology,
        clock: Callable[[], float] = time.monotonic,
        begun: Activated | None = None,
    ) -> None:
        self._root = root
        self._ontologies = OntologyRegistry(root)
        self._given = given
        self._clock = clock
        self._lock = threading.RLock()
        self._forces: dict[Activated, Force] = {}
        self._models: dict[str, LoadedModel] = {}
        self._refused: tuple[_Stamp, _Stamp] | None = None
        self._refusal = ""
        self._stamps: tuple[_Stamp, _Stamp] | None = self._read_stamps()
        self._known = self._read()
        try:
            self.force(self._known)
        except (ConfigurationError, ModelError) as error:
            if begun is None:
                raise
            self._refuse(self._stamps, error)
            self._stamps, self._known = None, self._usable(begun, self._known, error)
        self._next = clock() + LOOK_EVERY

    @property
    def refusal(self) -> str:
        """Why the newest records are not followed; empty when they are."""
        return self._refusal

    def known(self, *, at_once: bool = False) -> Activated:
        """How many records there are; looked at every ``LOOK_EVERY`` seconds, or ``at_once``."""
        now = self._clock()
        if at_once or now >= self._next:
            with self._lock:
                self._next = now + LOOK_EVERY
                self._look()
        return self._known

    def force(self, activated: Activated) -> Force:
        """What the first so many records put in force.

        Raises:
            ConfigurationError, ModelError: there are fewer, or what they put in force cannot be used.
        """
        with self._lock:
            if activated not in self._forces:
                self._forces[activated] = self._load(activated)
            return self._forces[activated]

    def since(self, before: Activated, after: Activated) -> int:
        """The earliest date of the records that were added."""
        added: list[Activation] = [
            *self._ontologies.activations().records[before.ontologies : after.ontologies],
            *self._model_records().records[before.models : after.models],
        ]
        return min(record.active_from for record in added)

    # --- inside -------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        stamps = self._read_stamps()
        if stamps == self._stamps:
            # perhaps again: what could not be followed was taken back
            self._refusal, self._refused = "", None
            return
        try:
            found = self._read()
            if found.ontologies < self._known.ontologies or found.models < self._known.models:
                raise ConfigurationError(
                    self._root, None, "it has lost records of activations", hint="restore the folder from a backup"
                )
            self.force(found)
        except (ConfigurationError, ModelError) as error:
            self._refuse(stamps, error)
            return
        self._known, self._stamps, self._refusal = found, stamps, ""

    def _refuse(self, stamps: tuple[_Stamp, _Stamp] | None, error: ConfigurationError | ModelError) -> None:
        self._refusal = f"{error.message} ({error.hint})"
        if stamps != self._refused:
            _log.warning("not followed, what was in force stays: %s", self._refusal)
        self._refused = stamps

    def _usable(self, begun: Activated, found: Activated, error: WaylineError) -> Activated:
        """The most records that can be used, of those there are and not fewer than there were."""
        some = itertools.product(range(begun.ontologies, found.ontologies + 1), range(begun.models, found.models + 1))
        for activated in sorted(itertools.starmap(Activated, some), key=sum, reverse=True):
            try:
                self.force(activated)
            except (ConfigurationError, ModelError):
                continue
            return activated
        raise error

    def _read(self) -> Activated:
        return Activated(len(self._ontologies.activations().records), len(self._model_records().records))

    def _model_records(self) -> Activations:
        return read_activations(self._root / MODELS)

    def _load(self, activated: Activated) -> Force:
        records = self._model_records()
        if activated.models > len(records.records) or activated.ontologies > len(
            self._ontologies.activations().records
        ):
            raise ConfigurationError(
                self._root,
                None,
                "it has fewer records of activations than the stream was folded by",
                hint="restore the folder from a backup; records are only ever added",
            )
        given = self._given
        dated = self._ontologies.dated(given, activated.ontologies, other_stages=True) or DatedOntologies.of(given)
        records = replace(records, records=records.records[: activated.models])
        if records.versions and dated.last.stage_names != given.stage_names:
            raise ModelError(
                f"model {records.versions[-1]} is in force with the stages {', '.join(dated.last.stage_names)}, but "
                f"the stream began with {', '.join(given.stage_names)}, of which its tables have columns",
                hint=f"drain the stream, let the project's configuration name {dated.last.path}, and stream again",
            )
        models = load_models(self._root, records, given.stage_names, self._models)
        self._models.update(models.models)

        def score(times: Any, matrix: Any) -> tuple[Sequence[str | None], Any]:
            return score_points(models, times, matrix, len(self._given.stages))

        return Force(activated, dated, score if models else None)

    def _read_stamps(self) -> tuple[_Stamp, _Stamp]:
        return _stamp(self._root / ONTOLOGIES), _stamp(self._root / MODELS)


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size
