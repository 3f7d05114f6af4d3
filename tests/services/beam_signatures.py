"""Beam's look at the arguments of functions, each function looked at once, and at what state a kind of DoFn has.

While a graph is built, translated and run, Beam asks some twenty thousand times which arguments the methods of DoFns
have, and some hundred times each DoFn for all of its methods: a third of the CPU of a small run, of which the tests
make some hundreds. Neither a function's arguments nor the methods of a class change.
"""

from __future__ import annotations

from types import MethodType
from typing import Any
from weakref import WeakKeyDictionary


def remember() -> None:
    """From now on Beam is told of a method, and of a class of DoFns, what it was told before."""
    _remember_arguments()
    _remember_state()


def _remember_arguments() -> None:
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


def _remember_state() -> None:
    from apache_beam.transforms import userstate

    look = userstate.get_dofn_specs
    known: WeakKeyDictionary[type, tuple[set[Any], set[Any]] | None] = WeakKeyDictionary()

    def specs(dofn: Any) -> tuple[set[Any], set[Any]]:
        kind = type(dofn)
        if kind not in known:
            # one that wraps a function says itself, each for itself, which arguments that has
            wraps = any(name.startswith("_inspect_") for name in dir(kind))
            known[kind] = None if wraps else look(dofn)
        found = known[kind]
        # what is a method of one DoFn alone is none of its class
        if found is None or any(isinstance(value, MethodType) for value in vars(dofn).values()):
            return look(dofn)
        return set(found[0]), set(found[1])

    userstate.get_dofn_specs = specs
