"""The features as every fold of journeys takes them: in a run, in a stream, and wherever history is told again.

Pure. Errors, state: none.
"""

from __future__ import annotations

from features.journey_features import FEATURE_NAMES, vector
from features.state import FeatureState
from features.turning import next_turn
from transforms.journey.feature_port import FeatureFunctions

FUNCTIONS = FeatureFunctions(FEATURE_NAMES, FeatureState, vector, next_turn)
