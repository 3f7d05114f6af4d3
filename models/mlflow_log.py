"""The MLflow side of the registry: runs, model versions and aliases, for those who review models.

The pointer file and the bundles decide what is scored; MLflow repeats it, and ``sync_roles`` may be called again.
The database is ``OUT/registry/mlflow.db``; callers hold the registry's lock, so that it is created once.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from contracts.errors import LockedError
from contracts.event import DAY
from models.activations import Activations
from models.bundle import Manifest

MODEL_NAME = "wayline-stage"
_VERSION_TAG = "wayline.version"


def record(registry: Path, manifest: Manifest, bundle: Path) -> str:
    """Log a training and register its model, once a version. Returns MLflow's number of the model version.

    Raises:
        LockedError: the database is locked by another program.
    """
    client = _client(registry)
    try:
        known = _numbers(client)
        if manifest.version in known:
            return known[manifest.version]
        run = client.create_run(_experiment(client, registry), run_name=manifest.version)
        run_id = run.info.run_id
        for key, value in {
            "algorithm": manifest.algorithm,
            "horizon_days": manifest.window / DAY,
            "feature_service": manifest.feature_service,
            "feature_version": manifest.feature_version,
            "ontology_version": manifest.ontology_version,
            "trained_until_us": manifest.trained_until,
            **{f"rows_{name}": count for name, count in manifest.rows.items()},
        }.items():
            client.log_param(run_id, key, value)
        for key, value in asdict(manifest.metrics).items():
            if isinstance(value, tuple):
                continue  # the curve is in the bundle
            if isinstance(value, dict):
                for stage, number in value.items():
                    client.log_metric(run_id, f"{key}_{stage}", float(number))
            else:
                client.log_metric(run_id, key, float(value))
        client.log_artifacts(run_id, str(bundle), "bundle")
        client.set_terminated(run_id)
        version = client.create_model_version(
            MODEL_NAME,
            source=f"{run.info.artifact_uri}/bundle",
            run_id=run_id,
            tags={_VERSION_TAG: manifest.version, "sha256": manifest.sha256},
        )
        return str(version.version)
    except _operational_error() as error:
        raise _locked(registry, error) from error


def sync_roles(registry: Path, activations: Activations) -> None:
    """Make the aliases champion, challenger and previous say what the pointer file says."""
    client = _client(registry)
    try:
        numbers = _numbers(client)
        roles = {
            "champion": activations.champion,
            "challenger": activations.challenger,
            "previous": activations.previous,
        }
        current = client.get_registered_model(MODEL_NAME).aliases
        for role, version in roles.items():
            if version in numbers:
                if str(current.get(role)) != numbers[version]:
                    client.set_registered_model_alias(MODEL_NAME, role, numbers[version])
            elif role in current:
                client.delete_registered_model_alias(MODEL_NAME, role)
    except _operational_error() as error:
        raise _locked(registry, error) from error


def _client(registry: Path) -> Any:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    # MLflow sets its own level on import; how it makes its tables is nothing a user has to read.
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)

    uri = f"sqlite:///{(registry / 'mlflow.db').resolve()}"
    try:
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        try:
            client.get_registered_model(MODEL_NAME)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            client.create_registered_model(MODEL_NAME, description="Probability of each stage at a journey point.")
    except _operational_error() as error:
        raise _locked(registry, error) from error
    return client


def _experiment(client: Any, registry: Path) -> str:
    found = client.get_experiment_by_name(MODEL_NAME)
    if found is not None:
        return str(found.experiment_id)
    return str(client.create_experiment(MODEL_NAME, artifact_location=(registry / "artifacts").resolve().as_uri()))


def _numbers(client: Any) -> dict[str, str]:
    """Our version name to MLflow's number."""
    found = client.search_model_versions(f"name='{MODEL_NAME}'")
    return {item.tags[_VERSION_TAG]: str(item.version) for item in found if _VERSION_TAG in item.tags}


def _operational_error() -> tuple[type[Exception], ...]:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError

    return (OperationalError, MlflowException)


def _locked(registry: Path, error: Exception) -> LockedError:
    return LockedError(
        f"the MLflow database {registry / 'mlflow.db'} cannot be used: {str(error).splitlines()[0]}",
        hint="end the program that holds it; bundles and champion.json are not affected, so scoring goes on",
    )
