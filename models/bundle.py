"""The immutable bundle of a model: what workers load, without MLflow and without pickle.

A bundle is a folder ``bundles/VERSION`` with ``model.skops`` and ``manifest.json``. Loading checks the file's SHA-256
against the manifest, constructs only the types of ``TRUSTED_TYPES``, checks the features the model names against those
this code computes, and scores stored vectors again. The vectors are made of the training set's quantiles, so no
person's row lies in a bundle.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from contracts.errors import ModelError
from features.journey_features import FEATURE_NAMES, VERSIONS, refuse_as_inputs
from models.activations import durable_write
from models.evaluation import Comparison, Metrics
from models.skops_import import skops_io

Floats = npt.NDArray[np.float64]

MODEL_FILE, MANIFEST_FILE = "model.skops", "manifest.json"
TRUSTED_TYPES = (
    "sklearn.calibration.CalibratedClassifierCV",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.frozen._frozen.FrozenEstimator",
    "sklearn.linear_model._logistic.LogisticRegression",
    "sklearn.pipeline.Pipeline",
    "sklearn.preprocessing._data.StandardScaler",
    "sklearn.preprocessing._label.LabelEncoder",
)
"""What a model may be made of, besides numbers, arrays and the losses that skops trusts by itself. A file's own claims
are never trusted."""

_MAX_MODEL_BYTES = 256 * 1024 * 1024
_TOLERANCE = 1e-6
_RETRAIN = "train a new model with `wayline train`, or activate another version with `wayline model promote`"


_TILE = 96
"""A multiple of the rows that the kernels of linear algebra take at once: 4, 6, 8, 12, 16, 24, 32 or 48."""


@dataclass(frozen=True)
class Smoke:
    """Model input vectors and the probabilities that the model gave for them when it was trained."""

    vectors: tuple[tuple[float, ...], ...]
    probabilities: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Manifest:
    """Everything to know about a model. Times are UTC microseconds.

    ``features`` are the model's inputs in order. ``trained_until`` is the latest moment of an event that any training
    target looked at; ``horizon`` that of the output folder it was trained on. ``window`` is H of the target.
    """

    version: str
    sha256: str
    algorithm: str
    stages: tuple[str, ...]
    features: tuple[str, ...]
    feature_version: str
    feature_declaration: str
    feature_service: str
    ontology_version: str
    window: int
    trained_until: int
    horizon: int
    rows: dict[str, int]
    libraries: dict[str, str]
    metrics: Metrics
    champion: Comparison | None
    labels: dict[str, dict[str, float]]
    smoke: Smoke


@dataclass(frozen=True)
class LoadedModel:
    """A verified model. ``columns`` picks its inputs from a full feature vector of this code's declaration."""

    manifest: Manifest
    estimator: Any
    columns: npt.NDArray[np.int64]

    @property
    def version(self) -> str:
        return self.manifest.version

    def predict(self, matrix: Floats) -> Floats:
        """Probabilities of full feature vectors: one row a vector, one column a stage in ontology order."""
        return stage_probabilities(self.estimator, matrix[:, self.columns], len(self.manifest.stages))


def stage_probabilities(estimator: Any, inputs: Floats, stages: int) -> Floats:
    """Probabilities over all stages; a stage that the training set never showed has probability 0.

    A row has the same ones, to the last bit, whichever rows are asked for with it: a stream asks for other batches than
    a bounded run does. A product of matrices sums up a row that is left over from its tiles in another order, so there
    is none left over: rows are filled up to a multiple of ``_TILE``.
    """
    if not len(inputs):
        return np.zeros((0, stages))
    missing = -len(inputs) % _TILE
    filled = np.concatenate([inputs, np.repeat(inputs[-1:], missing, axis=0)]) if missing else inputs
    predicted = np.asarray(estimator.predict_proba(filled), dtype=np.float64)[: len(inputs)]
    if predicted.shape[1] == stages:
        return predicted
    result = np.zeros((len(inputs), stages))
    result[:, np.asarray(estimator.classes_, dtype=np.int64)] = predicted
    return result


def smoke_vectors(inputs: Floats, count: int = 16) -> Floats:
    """Vectors that span the training set without repeating a row of it: shifted quantiles of each column."""
    levels = np.linspace(0.02, 0.98, count)
    table = np.quantile(inputs, levels, axis=0)
    shifted = [np.roll(table[:, column], column * 5) for column in range(inputs.shape[1])]
    return np.ascontiguousarray(np.stack(shifted, axis=1))


def save_bundle(bundles: Path, manifest: Manifest, model: bytes) -> Path:
    """Publish a bundle by rename; one that is there already is left as it is. Returns its folder.

    Raises:
        ModelError: the folder cannot be written.
    """
    target = bundles / manifest.version
    if target.exists():
        return target
    temporary = bundles / f".{manifest.version}.{os.getpid()}.tmp"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        durable_write(temporary / MODEL_FILE, model)
        durable_write(temporary / MANIFEST_FILE, msgspec.json.format(msgspec.json.encode(manifest), indent=2))
        temporary.rename(target)
    except OSError as error:
        raise ModelError(f"the bundle {target} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def read_manifest(path: Path) -> Manifest:
    """The manifest of a bundle folder. Raises ModelError when it is missing or damaged."""
    try:
        return msgspec.json.decode((path / MANIFEST_FILE).read_bytes(), type=Manifest)
    except OSError as error:
        raise ModelError(f"model bundle {path.name}: {MANIFEST_FILE} cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"model bundle {path.name}: {MANIFEST_FILE} is damaged: {error}", hint=_RETRAIN) from error


def load_bundle(
    path: Path, feature_names: Sequence[str] = FEATURE_NAMES, served: Collection[str] = tuple(VERSIONS)
) -> LoadedModel:
    """Load and verify a bundle.

    Args:
        path: the bundle's folder; its name is the version.
        feature_names: the features of the code that will score, in the order of its vectors.
        served: versions of the vector whose features these are, the older ones among them.

    Raises:
        ModelError: missing, changed, of untrusted types, for other features, or with other answers than when trained.
    """
    name = f"model bundle {path.name}"
    manifest, columns, data = _verified(path, name, feature_names, served)
    model = LoadedModel(manifest, _construct(data, name), columns)
    _check_smoke(model, name)
    return model


def check_bundle(path: Path) -> Manifest:
    """Find out whether a bundle loads, if possible without importing the libraries that it takes.

    It was loaded when it was registered. The same bytes under the same libraries load again, so they are not
    constructed here; what other libraries made is. Raises what ``load_bundle`` raises, as whoever scores calls it.
    """
    manifest, _, _ = _verified(path, f"model bundle {path.name}", FEATURE_NAMES, tuple(VERSIONS))
    if manifest.libraries != libraries():
        load_bundle(path)
    return manifest


def libraries() -> dict[str, str]:
    """The installed versions of what models are made of."""
    return {name: version(name) for name in ("scikit-learn", "skops", "numpy")}


def _verified(
    path: Path, name: str, feature_names: Sequence[str], served: Collection[str]
) -> tuple[Manifest, npt.NDArray[np.int64], bytes]:
    """Manifest, places of the inputs and bytes of a bundle that is whole and fits this code; ``name`` is for errors."""
    manifest = read_manifest(path)
    if manifest.version != path.name:
        raise ModelError(f"{name}: its manifest names version {manifest.version}")
    columns = check_signature(manifest, feature_names, served)
    data = _read_model(path, name)
    digest = hashlib.sha256(data).hexdigest()
    if digest != manifest.sha256:
        raise ModelError(
            f"{name}: {MODEL_FILE} has SHA-256 {digest[:12]}…, its manifest says {manifest.sha256[:12]}…; "
            "the file was changed or damaged",
            hint="restore the bundle, or activate another version with `wayline model promote` or `rollback`",
        )
    return manifest, columns, data


def check_signature(manifest: Manifest, feature_names: Sequence[str], served: Collection[str]) -> npt.NDArray[np.int64]:
    """Where the model's inputs stand in a feature vector. Raises ModelError when the code computes other features."""
    name = f"model bundle {manifest.version}"
    if manifest.feature_version not in served:
        raise ModelError(
            f"{name} was trained on features {manifest.feature_version}; this code computes {', '.join(served)}",
            hint=_RETRAIN,
        )
    refuse_as_inputs(manifest.features)
    missing = [feature for feature in manifest.features if feature not in feature_names]
    if missing:
        raise ModelError(f"{name} needs feature {missing[0]!r}, which is not computed any more", hint=_RETRAIN)
    return np.array([list(feature_names).index(feature) for feature in manifest.features], dtype=np.int64)


def _read_model(path: Path, name: str) -> bytes:
    file = path / MODEL_FILE
    try:
        if file.stat().st_size > _MAX_MODEL_BYTES:
            raise ModelError(f"{name}: {MODEL_FILE} is larger than {_MAX_MODEL_BYTES} bytes")
        return file.read_bytes()
    except OSError as error:
        raise ModelError(f"{name}: {MODEL_FILE} cannot be read: {error.strerror}") from error


def _construct(data: bytes, name: str) -> Any:
    io = skops_io()
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return io.loads(data, trusted=list(TRUSTED_TYPES))
    except UntrustedTypesFoundException as error:
        raise ModelError(
            f"{name}: {MODEL_FILE} contains types that are not trusted: {error}", hint="do not use this bundle"
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError, ImportError, OSError, zipfile.BadZipFile) as error:
        raise ModelError(f"{name}: {MODEL_FILE} cannot be loaded: {error}", hint=_RETRAIN) from error


def _check_smoke(model: LoadedModel, name: str) -> None:
    smoke = model.manifest.smoke
    vectors = np.array(smoke.vectors, dtype=np.float64).reshape(-1, len(model.manifest.features))
    expected = np.array(smoke.probabilities, dtype=np.float64).reshape(-1, len(model.manifest.stages))
    if not len(vectors) or len(vectors) != len(expected):
        raise ModelError(f"{name}: its manifest holds no vectors to check it with", hint=_RETRAIN)
    try:
        found = stage_probabilities(model.estimator, vectors, len(model.manifest.stages))
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        raise ModelError(f"{name} cannot score its stored vectors: {error}", hint=_RETRAIN) from error
    worst = float(np.abs(found - expected).max())
    if not worst <= _TOLERANCE:
        raise ModelError(
            f"{name} answers its stored vectors differently than when it was trained (by {worst:.2g})", hint=_RETRAIN
        )
