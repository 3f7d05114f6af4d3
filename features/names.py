"""Names of the Feast objects, for those who must not import Feast."""

from __future__ import annotations

PROJECT = "wayline"
ENTITY = "person"
JOIN_KEY = "person_id"
SOURCE = "journey_history"
VIEW = "journey_v1"
MODEL_SERVICE = "stage_model_v1"
"""The features that the stage classifier reads."""

JOURNEY_SERVICE = "journey_features_v1"
"""Every feature, for policies and analysis."""

HISTORY_FILE = "history.parquet"
CONFIG_FILE = "feature_store.yaml"
REPOSITORY_FILE = "journey_repository.py"
REGISTRY_FILE = "registry.db"
