"""The model registry of an output folder: register, promote, roll back, list.

``OUT/registry`` holds the immutable ``bundles/``, the pointer ``champion.json`` and MLflow's database. A version
becomes champion only when its bundle verifies, its features are those this code computes, its stages are the
ontology's, and it passes the gates. Every change is one more dated activation; nothing that was
scored before its date changes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import ModelError
from models import mlflow_log
from models.activations import Activations, exclusive, read_activations, write_activations
from models.bundle import LoadedModel, Manifest, load_bundle, read_manifest, save_bundle
from models.evaluation import Comparison, Gates, Metrics
from models.scoring import BUNDLES, POINTER

Compare = Callable[[LoadedModel, LoadedModel], tuple[Metrics, Comparison]]
"""(candidate, champion) to the metrics of the candidate and the comparison with the champion, on the same rows."""


@dataclass(frozen=True)
class ModelRow:
    """One line of ``wayline model list``. ``fault`` says why a bundle could not be used, if so."""

    version: str
    role: str
    manifest: Manifest | None
    fault: str = ""


class ModelRegistry:
    """The registry below ``OUT/registry``. Times are UTC microseconds; ``now`` is given by the caller."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bundles = root / BUNDLES
        self.pointer = root / POINTER

    def activations(self) -> Activations:
        """What is in force when. Raises ModelError for a damaged pointer."""
        return read_activations(self.pointer)

    def versions(self) -> tuple[str, ...]:
        """Versions whose bundles are there, by name."""
        if not self.bundles.is_dir():
            return ()
        return tuple(sorted(p.name for p in self.bundles.iterdir() if p.is_dir() and not p.name.startswith(".")))

    def load(self, version: str) -> LoadedModel:
        """A verified model. Raises ModelError for an unknown or unusable one."""
        if version not in self.versions():
            known = ", ".join(self.versions()) or "none"
            raise ModelError(f"there is no model {version!r} in {self.root}", hint=f"known versions: {known}")
        return load_bundle(self.bundles / version)

    def register(self, manifest: Manifest, model: bytes) -> LoadedModel:
        """Publish a bundle as challenger, log it in MLflow, and load it back as a worker would.

        Raises:
            ModelError: it does not verify; it is then registered nowhere.
            LockedError: another process changes the registry.
        """
        with exclusive(self.root):
            bundle = save_bundle(self.bundles, manifest, model)
            loaded = load_bundle(bundle)
            mlflow_log.record(self.root, loaded.manifest, bundle)
            activations = self.activations()
            if manifest.version != activations.champion:
                activations = activations.challenged(manifest.version)
                write_activations(self.pointer, activations)
            mlflow_log.sync_roles(self.root, activations)
        return loaded

    def promote(
        self,
        version: str,
        *,
        stages: Sequence[str],
        active_from: int,
        reason: str,
        now: int,
        gates: Gates | None = None,
        compare: Compare | None = None,
        certain: Collection[str] = (),
    ) -> Activations:
        """Make a version champion from ``active_from`` on.

        Args:
            version: a registered version.
            stages: the ontology's stages.
            active_from: event time of the first point that it may score.
            reason: for the audit.
            now: wall time of the record.
            gates: what it must reach.
            compare: measures it against a champion that its manifest does not name.
            certain: stages that rules alone decide, of which no recall is asked.

        Raises:
            ModelError: it does not verify, or a gate refuses; every refusal is named.
        """
        candidate = self.load(version)
        manifest = candidate.manifest
        if manifest.stages != tuple(stages):
            raise ModelError(
                f"model {version} was trained for the stages {', '.join(manifest.stages)}; "
                f"the ontology has {', '.join(stages)}",
                hint="train a model for this ontology with `wayline train`",
            )
        with exclusive(self.root):
            activations = self.activations()
            metrics, champion = self._measured(candidate, activations.champion, compare)
            refusals = (gates or Gates()).refusals(metrics, champion, certain)
            if refusals:
                raise ModelError(
                    f"model {version} is not promoted; {len(refusals)} gate(s) refuse it: {'; '.join(refusals)}",
                    hint="it stays registered as challenger; train on more data, or look at it in MLflow",
                )
            activations = activations.activated(version, active_from, reason, now)
            write_activations(self.pointer, activations)
            mlflow_log.sync_roles(self.root, activations)
        return activations

    def rollback(self, *, active_from: int, reason: str, now: int) -> Activations:
        """Return to the previous version, or to rules alone when there was none, from ``active_from`` on.

        No gate is asked: the previous version passed them, and a rollback must not fail on a bad day. But a previous
        version whose bundle no longer verifies is refused, since every worker would fail on it.

        Raises:
            ModelError: nothing was ever activated, or the previous bundle is unusable.
        """
        with exclusive(self.root):
            activations = self.activations()
            if not activations.records:
                raise ModelError(f"{self.root} has no champion to roll back", hint="see `wayline model list`")
            previous = activations.previous
            if previous is not None:
                self.load(previous)
            activations = activations.activated(previous, active_from, reason, now)
            write_activations(self.pointer, activations)
            mlflow_log.sync_roles(self.root, activations)
        return activations

    def rows(self) -> tuple[ModelRow, ...]:
        """All versions with their roles, those trained last first."""
        activations = self.activations()
        roles = {
            activations.previous: "previous",
            activations.challenger: "challenger",
            activations.champion: "champion",
        }
        found: list[ModelRow] = []
        for version in self.versions():
            try:
                manifest: Manifest | None = read_manifest(self.bundles / version)
                fault = ""
            except ModelError as error:
                manifest, fault = None, error.message
            found.append(ModelRow(version, roles.get(version, ""), manifest, fault))
        return tuple(sorted(found, key=lambda row: (-(row.manifest.trained_until if row.manifest else 0), row.version)))

    def _measured(
        self, candidate: LoadedModel, champion: str | None, compare: Compare | None
    ) -> tuple[Metrics, Comparison | None]:
        manifest = candidate.manifest
        if champion is None or champion == manifest.version:
            return manifest.metrics, None
        if manifest.champion is not None and manifest.champion.version == champion:
            return manifest.metrics, manifest.champion
        if compare is None:
            raise ModelError(
                f"model {manifest.version} was not compared with the champion {champion} on the same rows",
                hint="promote it with --out naming the folder whose tables both can be tested on",
            )
        return compare(candidate, self.load(champion))
