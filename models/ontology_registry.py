"""The ontologies of an output folder: each whole text under its version, and from when each is in force. Files only.

Purpose: what history was folded by stays readable and in force, whatever becomes of the project's file. Input: texts
and dates. Output: ``DatedOntologies`` for the folds. Units: microseconds, event time; ``at`` of a record is wall time.
Errors: ``ConfigurationError`` for what may not be activated or is damaged. State: two things in the registry folder,
``ontology.json`` with the dated records, in the form of those of models, and ``ontologies/VERSION.yaml``. Records are
only ever added, and a text is never written again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from contracts.errors import ConfigurationError
from contracts.exchange import MIN_TIME
from models.activations import Activations, durable_write, exclusive, read_activations, write_activations
from models.scoring import POINTER as MODELS
from transforms.journey.dated import DatedOntologies, one_meaning
from transforms.journey.ontology import Ontology
from transforms.journey.ontology_file import parse_ontology

POINTER, TEXTS = "ontology.json", "ontologies"
_FIRST = "in force before the first activation"


@dataclass(frozen=True)
class OntologyRegistry:
    """The ontologies in a registry folder; it need not exist yet."""

    root: Path

    @property
    def pointer(self) -> Path:
        """The file of the dated records."""
        return self.root / POINTER

    def activations(self) -> Activations:
        """All records; none where the project's file serves."""
        return read_activations(self.pointer)

    def path_of(self, version: str) -> Path:
        """The kept text of a version."""
        return self.root / TEXTS / f"{version}.yaml"

    def load(self, version: str, session_by: str | None = None) -> Ontology:
        """A kept version.

        Args:
            version: one that was activated, or was in force before the first activation.
            session_by: overrides what its text says, as for the project's file.

        Raises:
            ConfigurationError: it is not kept here, or its text is no longer that of the version.
        """
        path = self.path_of(version)
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(
                path, None, f"cannot be read: {error.strerror}", hint="restore the file from a backup"
            ) from error
        if parse_ontology(text, str(path)).version != version:
            raise ConfigurationError(
                path, None, f"its content is not that of version {version}", hint="restore the file from a backup"
            )
        return parse_ontology(text, str(path), session_by)

    def activate(self, ontology: Ontology, given: Ontology, *, active_from: int, reason: str, now: int) -> Activations:
        """Put an ontology in force from ``active_from`` on.

        Args:
            ontology: as its file says, without an override of ``session_by``.
            given: what the project's file says, likewise; the first activation records it as in force until then.
            active_from: event time of the first point that it evaluates.
            reason: for the audit.
            now: wall time of the record.

        Raises:
            ConfigurationError: events or sessions mean something else in it, or a model knows other stages.
            LockedError: another process changes the registry.
        """
        with exclusive(self.root):
            activations = self.activations()
            if not activations.records:
                self._keep(given)
                activations = activations.activated(given.version, MIN_TIME, _FIRST, now)
            assert activations.champion is not None, "every record names a version"
            self._may_follow(ontology, self.load(activations.champion))
            self._keep(ontology)
            activations = activations.activated(ontology.version, active_from, reason, now)
            write_activations(self.pointer, activations)
        return activations

    def dated(self, given: Ontology, count: int | None = None, *, other_stages: bool = False) -> DatedOntologies | None:
        """Which ontology is in force when; None when none was ever activated, and the given one serves.

        Args:
            given: that of the project, with what overrides it.
            count: of the records, in their order; all by default. 0: what the first activation recorded as in force
                until then, which the project may not name any more.
            other_stages: whether the given one may have other stages than the version in force in the end, as it may
                for who began before that was activated.

        Raises:
            ConfigurationError: the project's file was changed without an activation, has other stages than the version
                in force in the end, or a kept text is damaged.
        """
        activations = self.activations()
        if not activations.records:
            return None
        if count is not None:
            activations = Activations(activations.records[: max(count, 1)])
        spans: list[tuple[int, Ontology]] = []
        loaded: dict[str, Ontology] = {}
        for start in sorted({record.active_from for record in activations.records}):
            version = activations.in_force(start)
            assert version is not None, "every record names a version"
            if version not in loaded:
                loaded[version] = self.load(version, given.session_by).with_administrative(given.administrative)
            if not spans or spans[-1][1] is not loaded[version]:
                spans.append((start, loaded[version]))
        found = DatedOntologies(tuple(spans))
        self._check_given(given, found.last, other_stages=other_stages)
        return found

    def _check_given(self, given: Ontology, last: Ontology, *, other_stages: bool) -> None:
        version = parse_ontology(given.source, given.path).version
        if not self.path_of(version).is_file():
            raise ConfigurationError(
                given.path,
                None,
                f"this is version {version}, which was never activated; {last.version} is in force",
                hint="`wayline ontology activate` puts it in force from a date on",
            )
        if given.stage_names != last.stage_names and not other_stages:
            raise ConfigurationError(
                given.path,
                None,
                f"it has the stages {', '.join(given.stage_names)}, but in force is {last.version} with "
                f"{', '.join(last.stage_names)}",
                hint=f"let the project's configuration name {last.path}, or a file with the same content",
            )

    def _keep(self, ontology: Ontology) -> None:
        path = self.path_of(ontology.version)
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            durable_write(path, ontology.source.encode())

    def _may_follow(self, ontology: Ontology, before: Ontology) -> None:
        if different := one_meaning(before, ontology):
            raise ConfigurationError(
                ontology.path,
                None,
                f"it differs from {before.version} in {', '.join(different)}; one history has one meaning of events",
                hint="stages, signals, hysteresis and the model's rule may change at a date; for anything else fold "
                "the history into a new output folder",
            )
        if ontology.stage_names != before.stage_names and (models := read_activations(self.root / MODELS).versions):
            raise ConfigurationError(
                ontology.path,
                None,
                f"it has the stages {', '.join(ontology.stage_names)}, but model {models[-1]}, which is in force at "
                f"some time, knows {', '.join(before.stage_names)}",
                hint="keep the stages, or fold the history into a new output folder",
            )
