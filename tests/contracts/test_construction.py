"""``fast_init`` changes the price of making a contract object, and nothing else."""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import dataclass, field

import pytest

from contracts import event, exchange
from contracts.construction import fast_init


@fast_init
@dataclass(frozen=True, slots=True)
class Quick:
    a: int
    b: str = "b"
    c: dict[str, int] = field(default_factory=dict)


def test_fields_defaults_and_factories_are_set_as_before() -> None:
    assert Quick(1) == Quick(a=1, b="b", c={})
    assert Quick(1, "x", {"k": 2}) == Quick(a=1, b="x", c={"k": 2})
    assert Quick(1).c is not Quick(1).c


def test_what_does_not_fit_is_refused_as_before() -> None:
    with pytest.raises(TypeError):
        Quick()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Quick(1, d=2)  # type: ignore[call-arg]


def test_it_stays_frozen_replaceable() -> None:
    made = Quick(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.a = 2  # type: ignore[misc]
    assert dataclasses.replace(made, a=2) == Quick(2)


def test_a_class_that_does_more_when_made_is_refused() -> None:
    @dataclass(frozen=True, slots=True)
    class Checks:
        a: int

        def __post_init__(self) -> None:
            raise ValueError

    with pytest.raises(TypeError, match="Checks"):
        fast_init(Checks)


def test_every_class_in_flight_is_made_the_fast_way() -> None:
    for module in (event, exchange):
        for name, kind in vars(module).items():
            if inspect.isclass(kind) and dataclasses.is_dataclass(kind):
                assert kind.__init__.__code__.co_filename == f"<construction of {name}>"
