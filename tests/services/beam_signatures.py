"""Beam's look at the arguments of functions, each function looked at once.

While a graph is built, translated and run, Beam asks some twenty thousand times which arguments the methods of DoFns
have: a quarter of the CPU of a small run, of which the tests make some hundreds. A function's arguments do not change.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary


def remember() -> None:
    """From now on Beam is told of a method what it was told before."""
    from apache_beam.transforms import core

    look = core.get_function_args_defaults
    known: WeakKeyDictionary[Any, tuple[list[str], list[Any]]] = WeakKeyDictionary()

    def arguments(function: Any) -> tuple[list[str], list[Any]]:
        method = getattr(function, "__func__", None)
        if method is None:
            return look(function)
        found = known.get(method)
        if found is None:
            found = known[method] = look(function)
        return list(found[0]), list(found[1])

    core.get_function_args_defaults = arguments
