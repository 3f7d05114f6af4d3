"""Import skops without its list of every estimator of scikit-learn: 10 s of CPU a process less, measured.

On import skops collects the names of all public estimators, which it trusts by default, and for that imports all of
scikit-learn. A model of ours is made of a handful of types, which ``models.bundle.TRUSTED_TYPES`` names; so the list is
empty while skops is imported, and a bundle of anything else is refused.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


def skops_io() -> ModuleType:
    """The module ``skops.io``, imported once."""
    loaded = sys.modules.get("skops.io")
    if loaded is not None:
        return loaded
    import sklearn.utils

    original = sklearn.utils.all_estimators
    sklearn.utils.all_estimators = _none
    try:
        import skops.io
    finally:
        sklearn.utils.all_estimators = original
    return skops.io  # type: ignore[no-any-return]


def _none(*arguments: Any, **named: Any) -> list[tuple[str, type]]:
    return []
