"""Import skops without its list of every type it may trust: 10 s of CPU a process less, measured, and another second.

On import skops collects the names of all public estimators, which it trusts by default, and for that imports all of
scikit-learn. It collects the universal functions of NumPy and SciPy too, of which none knows its module, so that it
looks for each of some four hundred in all modules that are loaded. A model of ours is made of a handful of types, which
``models.bundle.TRUSTED_TYPES`` names; so these lists are empty while skops is imported, and a bundle of anything else
is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


def skops_io() -> ModuleType:
    """The module ``skops.io``, imported once."""
    loaded = sys.modules.get("skops.io")
    if loaded is not None:
        return loaded
    import numpy
    import scipy.special  # type: ignore[import-untyped]
    import sklearn.utils

    original = sklearn.utils.all_estimators
    sklearn.utils.all_estimators = _none
    try:
        with _showing_nothing(numpy), _showing_nothing(scipy.special):
            import skops.io
    finally:
        sklearn.utils.all_estimators = original
    return skops.io  # type: ignore[no-any-return]


def _none(*arguments: Any, **named: Any) -> list[tuple[str, type]]:
    return []


@contextmanager
def _showing_nothing(module: ModuleType) -> Iterator[None]:
    """Let ``dir(module)`` be empty meanwhile; what is in the module stays there."""
    own = vars(module).get("__dir__")
    module.__dir__ = list  # type: ignore[method-assign]
    try:
        yield
    finally:
        if own is None:
            del module.__dir__
        else:
            module.__dir__ = own  # type: ignore[method-assign]
