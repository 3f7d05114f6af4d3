"""Import Feast without its run-time type checks, which halve its import: 8 s of CPU against 16 s, measured.

Feast decorates its classes with ``typeguard.typechecked``, which compiles every method again on import. Our calls are
checked by tests, so the decorator is an identity while Feast is imported. Only a process that trains, applies or reads
features needs Feast at all; the pipeline's workers do not.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


def feast() -> ModuleType:
    """The ``feast`` package, imported once."""
    loaded = sys.modules.get("feast")
    if loaded is not None:
        return loaded
    import typeguard

    original = typeguard.typechecked
    typeguard.typechecked = _unchecked
    try:
        import feast as package
    finally:
        typeguard.typechecked = original
    return package  # type: ignore[no-any-return]


def _unchecked(target: Any = None, **options: Any) -> Any:
    """``typechecked`` as a decorator, with or without options, that changes nothing."""
    if target is None:
        decorator: Callable[[Any], Any] = _unchecked
        return decorator
    return target
