"""Cheap construction of frozen dataclasses that are made by the million.

A frozen dataclass sets each field through ``object.__setattr__``, which looks the field up by name; the setters of its
slots do the same at half the price. Nothing else about the class changes: it stays frozen, typed and a dataclass.
Pure.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, TypeVar

T = TypeVar("T")


def fast_init(kind: type[T]) -> type[T]:
    """Decorator for a ``@dataclass(frozen=True, slots=True)`` without ``__post_init__``: the same ``__init__``, faster.

    Raises:
        TypeError: the class has no slots, or does more when it is made than setting its fields.
    """
    if "__slots__" not in vars(kind) or hasattr(kind, "__post_init__"):
        raise TypeError(f"{kind.__name__} is no dataclass with slots and without __post_init__")
    scope: dict[str, Any] = {"_MISSING": MISSING}
    parameters, body = ["self"], []
    for field in fields(kind):  # type: ignore[arg-type]  # T cannot be bound to the private protocol of dataclasses
        name = field.name
        if not field.init or field.kw_only:
            raise TypeError(f"field {name} of {kind.__name__} is no ordinary parameter")
        scope[f"_set_{name}"] = getattr(kind, name).__set__
        if field.default is not MISSING:
            scope[f"_default_{name}"] = field.default
            parameters.append(f"{name}=_default_{name}")
        elif field.default_factory is not MISSING:
            scope[f"_make_{name}"] = field.default_factory
            parameters.append(f"{name}=_MISSING")
            body.append(f"    if {name} is _MISSING: {name} = _make_{name}()")
        else:
            parameters.append(name)
        body.append(f"    _set_{name}(self, {name})")
    source = f"def __init__({', '.join(parameters)}):\n" + "\n".join(body)
    exec(compile(source, f"<construction of {kind.__name__}>", "exec"), scope)
    made = scope["__init__"]
    made.__qualname__ = f"{kind.__qualname__}.__init__"
    made.__annotations__ = dict(vars(kind)["__init__"].__annotations__)
    setattr(kind, "__init__", made)  # noqa: B010  # said so, mypy lets it pass: it is the point of the decorator
    return kind
