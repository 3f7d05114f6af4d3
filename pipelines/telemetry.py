"""The one place where the telemetry of every library is switched off, before any of them is imported.

Wayline sends nothing over the network that its user did not configure. ``disable()`` runs first in the command line,
whose environment local workers inherit; it leaves alone what the user set.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

SWITCHES: dict[str, str] = {
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "FEAST_USAGE": "False",
    "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ANONYMIZED_TELEMETRY": "False",
}
"""Environment variables by which the libraries are told; facts in docs/adr/0008."""


def disable(environment: MutableMapping[str, str] | None = None) -> None:
    """Set every switch that is not set yet."""
    target = os.environ if environment is None else environment
    for name, value in SWITCHES.items():
        target.setdefault(name, value)
