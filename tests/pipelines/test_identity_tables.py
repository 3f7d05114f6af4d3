"""The links read back from the tables decide the same as the links of the run: whatever is explained is what is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from identity_cli import ask, run_requests, world
from run_world import DAY, HOUR, MINUTE, NOON, Runs, definitions, event
from simulated import World
from test_identity_requests_run import own_rules

from contracts.errors import InputError
from contracts.event import Identifier
from reports.identity_tables import IdentityTables
from reports.lookup import JourneyTables
from reports.who import find_person
from transforms.identity.whatif import Compared, Evidence, moves, resolve_near
from transforms.tables.data_tests import data_tests


def check(runs: Runs) -> int:
    """Every identifier of an output, resolved from its tables; and every event, by strands. How many there are."""
    rules = runs.identity
    tables = JourneyTables(runs.out, definitions(runs.config).tables)
    try:
        source = IdentityTables(tables, rules)
        rows = runs.query("SELECT namespace, value, person_id FROM identifiers")
        held = {Identifier(namespace, value): person for namespace, value, person in rows}
        near = resolve_near(list(held), Evidence(source.links_of, rules), rules)
        wrong = {i: (near.person_of(i), person) for i, person in held.items() if near.person_of(i) != person}
        assert not wrong
        found = Counter[str]()
        for (one, other), events in moves(Compared(near, near, frozenset(held)), source, rules).events.items():
            assert one == other
            found[one] += events
        assert found == Counter(dict(runs.query("SELECT person_id, count(*) FROM events GROUP BY 1")))
        return len(held)
    finally:
        tables.close()


def test_a_dirty_world_is_resolved_from_its_tables_as_it_was_by_the_run(dirty_run: Runs) -> None:
    assert check(dirty_run) > 50


@pytest.mark.parametrize("owner", ["carry_forward", "keep_apart", "first_known"])
def test_so_it_is_under_every_owner_policy(
    owner: str, dirty_world: World, runs: Runs, tmp_path: Path, make_runs: Callable[[str], Runs]
) -> None:
    runs.config = own_rules(tmp_path, owner)
    turns = [
        ("login", "ann"),
        ("login", "bob"),
        ("home_view", ""),
        ("logout", "ann"),
        ("home_view", ""),
        ("login", "eve"),
    ]
    shared = []
    for n, (name, user) in enumerate(turns * 3):
        ids = {"anonymous_id": f"tablet-{n % 2}"} | ({"user_id": user} if user else {})
        shared.append(event(f"s{n}", name, NOON + n * MINUTE, ids))
    runs.run([*dirty_world.records, *shared])
    assert check(runs) > 50


def test_so_it_is_after_requests(runs: Runs) -> None:
    runs.run(world())
    ask(runs, "unlink", "user_id:ann", "crm_id:c9")
    ask(runs, "merge", "user_id:ann", "anonymous_id:b")
    run_requests(runs)
    assert check(runs) == 6


def test_an_id_whose_strands_went_to_several_stays_in_persons_and_leads_to_them(runs: Runs) -> None:
    app = {"device_id": "app"}
    runs.run([event(n, "product_view", NOON + n * HOUR, {"anonymous_id": "ab"[n % 2], **app}) for n in range(4)])
    shown = str(runs.person("device_id", "app"))
    assert runs.query("SELECT DISTINCT person_id FROM decisions") == [(shown,)]
    parted = [event(f"u{one}", "identity_unlink", NOON + DAY, {"anonymous_id": one, **app}) for one in "ab"]
    runs.run(parted)
    heirs = sorted(str(runs.person("anonymous_id", one)) for one in "ab")
    assert shown not in heirs
    assert runs.query(f"SELECT is_current, merged_into FROM persons WHERE person_id = '{shown}'") == [(False, None)]
    assert runs.query("SELECT * FROM decisions ANTI JOIN persons USING (person_id)") == []
    tests = [test for test in data_tests(definitions(runs.config).tables) if test.name.endswith("_in_persons")]
    assert {test.name: runs.query(test.sql) for test in tests} == {test.name: [] for test in tests}
    tables = JourneyTables(runs.out, definitions(runs.config).tables)
    try:
        with pytest.raises(InputError, match=r"holds no events any more: the strands .* of 2 persons now") as caught:
            find_person(tables, shown, runs.identity, pytest.fail)
        assert caught.value.hint == f"ask for one of them: {', '.join(heirs)}"
    finally:
        tables.close()
