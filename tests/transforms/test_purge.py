"""Purge in a stream: what was erased leaves the stores, what came after or belongs to others stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from contracts import coders
from contracts.event import Identifier
from contracts.exchange import Outcome, Purge
from transforms.identity.ids import strand_id
from transforms.identity.rules import StrandKey
from transforms.identity.rules_file import load_rules
from transforms.purge import PurgeStores, note, settle
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.effects import open_effects
from transforms.stores.identity import open_identity

RULES = load_rules(Path(__file__).parents[2] / "ontology" / "identity.yaml")
SHARDS = 4
NOON = 1_750_000_000_000_000
GONE, OTHER = Identifier("anonymous_id", "a" * 32), Identifier("anonymous_id", "b" * 32)


def outcome(number: int, device: Identifier, at: int) -> Outcome:
    return Outcome(f"o{number}", None, "p1", strand_id(device, None), "opened", at, at)


@pytest.fixture(name="stores")
def stores_fixture(tmp_path: Path) -> StoreAddress:
    """Two devices with outcomes; one was erased up to noon."""
    address = StoreAddress(tmp_path / STORE_FILE)
    identity = open_identity(address, RULES, SHARDS)
    for number, device in enumerate((GONE, OTHER)):
        identity.link(RULES.links((device,), "view", f"e{number}", NOON - 10, NOON - 10))
    identity.erase(NOON, [GONE])
    identity.close()
    effects = open_effects(address)
    effects.put_outcomes([outcome(1, GONE, NOON - 5), outcome(2, GONE, NOON + 5), outcome(3, OTHER, NOON - 5)])
    effects.close()
    return address


def purge(stores: StoreAddress, *purges: Purge) -> None:
    coders.register()
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        given = pipeline | beam.Create(list(purges)).with_output_types(Purge)
        _ = given | "Purge" >> PurgeStores(stores, str(notes_of(stores)))
    assert settled(stores) == len(set(purges))


def notes_of(stores: StoreAddress) -> Path:
    assert stores.path is not None
    return stores.path.parent / "purges"


def settled(stores: StoreAddress, told: Callable[[], object] = lambda: None) -> int:
    identity = open_identity(stores, RULES, SHARDS)
    try:
        return settle(notes_of(stores), identity, told)
    finally:
        identity.close()


def known(stores: StoreAddress) -> tuple[list[str], set[StrandKey]]:
    """The outcomes and the strands that the stores know."""
    effects, identity = open_effects(stores), open_identity(stores, RULES, SHARDS)
    try:
        outcomes = effects.outcomes([strand_id(device, None) for device in (GONE, OTHER)])
        strands = identity.assignments_of([StrandKey(device, None) for device in (GONE, OTHER)])
        return sorted(one.outcome_id for one in outcomes), set(strands)
    finally:
        identity.close()
        effects.close()


def test_the_stores_forget_what_was_erased_and_nothing_else(stores: StoreAddress) -> None:
    assert known(stores) == (["o1", "o2", "o3"], {StrandKey(GONE, None), StrandKey(OTHER, None)})
    order = Purge(strand_id(GONE, None), GONE, None, NOON)
    purge(stores, order)
    left = (["o2", "o3"], {StrandKey(OTHER, None)})
    assert known(stores) == left
    # the engine tries a bundle again
    purge(stores, order, order)
    assert known(stores) == left


def test_each_strand_is_purged_up_to_its_own_time(stores: StoreAddress) -> None:
    purge(
        stores, Purge(strand_id(GONE, None), GONE, None, NOON + 5), Purge(strand_id(OTHER, None), OTHER, None, NOON - 6)
    )
    assert known(stores)[0] == ["o3"]


def test_a_strand_that_no_erasure_covers_keeps_its_name(stores: StoreAddress) -> None:
    purge(stores, Purge(strand_id(OTHER, None), OTHER, None, NOON))
    assert StrandKey(OTHER, None) in known(stores)[1]


def test_names_are_forgotten_after_the_tables_were_told_and_not_what_is_noted_meanwhile(stores: StoreAddress) -> None:
    order, late = (Purge(strand_id(device, None), device, None, NOON) for device in (GONE, OTHER))
    note(notes_of(stores), [order])

    def told() -> None:
        assert StrandKey(GONE, None) in known(stores)[1]
        note(notes_of(stores), [late])

    assert settled(stores, told) == 1
    assert known(stores)[1] == {StrandKey(OTHER, None)}
    assert settled(stores) == 1
    assert settled(stores) == 0
