"""Names of the Feast objects, for those who must not import Feast."""

from __future__ import annotations

PROJECT = "wayline"
ENTITY = "person"
JOIN_KEY = "person_id"
SOURCE = "journey_history"
ROWS = "journey"
"""The rows of the online store, which every version of the view reads: a version only adds features."""

VERSION = "v2"
VIEW = f"journey_{VERSION}"
MODEL_SERVICE = f"stage_model_{VERSION}"
"""The features that the stage classifier reads."""

JOURNEY_SERVICE = f"journey_features_{VERSION}"
"""Every feature, for policies and analysis."""


def view_of(version: str) -> str:
    """The feature view of a version such as ``journey:v1``."""
    return version.replace(":", "_")


def services_of(version: str) -> tuple[str, str]:
    """The feature services of a version: what the classifier reads, and everything."""
    number = version.rpartition(":")[2]
    return f"stage_model_{number}", f"journey_features_{number}"


HISTORY_FILE = "history.parquet"
CONFIG_FILE = "feature_store.yaml"
REPOSITORY_FILE = "journey_repository.py"
REGISTRY_FILE = "registry.db"
