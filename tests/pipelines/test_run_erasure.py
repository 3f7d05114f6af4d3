"""Who asked to be erased is gone from tables, log and disk, and does not come back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from run_world import DAY, HOUR, MINUTE, NOON, Record, Runs, assert_same, event, text_of

from contracts.event import Identifier
from features.names import ROWS
from features.offline import history_file, materialise_history
from features.online_table import ONLINE_FILE, OnlineTable
from transforms.identity.ids import canonical_id

ANN = {"anonymous_id": "ann-phone", "user_id": "ann"}
BEN = {"anonymous_id": "ben-phone", "user_id": "ben"}


def life(who: str, start: int) -> list[Record]:
    """A session without a login, then one with."""
    device, both = {"anonymous_id": f"{who}-phone"}, {"anonymous_id": f"{who}-phone", "user_id": who}
    return [
        event(f"{who}{i}", name, start + i * MINUTE, device if i < 3 else both)
        for i, name in enumerate(("home_view", "product_view", "pricing_view", "login", "add_to_cart", "purchase"))
    ]


LIVES = [*life("ann", NOON), *life("ben", NOON + HOUR)]
REQUEST = event("erase", "erasure_requested", NOON + DAY, {"user_id": "ann"})
AFTER = event("after", "home_view", NOON + 3 * DAY, {"anonymous_id": "ben-phone"})


@pytest.fixture(scope="module")
def erased(make_runs: Callable[[str], Runs]) -> Runs:
    """Two lives, then the request of one of them together with the old events again, then all of it once more."""
    runs = make_runs("erasure")
    runs.run(LIVES)
    assert runs.person("user_id", "ann") is not None
    materialise_history(runs.out)
    runs.run([REQUEST, *LIVES])
    return runs


def traces(runs: Runs) -> list[str]:
    """Everything by which an erased person could be told: event ids, pseudonyms, person and strand ids."""
    pseudonyms = [runs.pseudonym(*item) for item in ANN.items()]
    found = [record["event_id"] for record in LIVES if "ann" in record["event_id"]]
    for namespace, value in pseudonyms:
        found += [value, canonical_id(Identifier(namespace, value))]
    return found


def test_an_erased_person_is_gone_from_every_refolded_table(erased: Runs) -> None:
    for name, rows in erased.views().items():
        text = repr(rows)
        assert not [trace for trace in traces(erased) if trace in text], name
    assert erased.query("SELECT count(*) FROM events WHERE event_id LIKE 'eben%'") == [(6,)]


def test_an_erased_person_is_gone_from_the_log_and_from_the_bytes_on_disk(erased: Runs) -> None:
    assert not history_file(erased.out).exists()
    for folder in ("log", "tables"):
        text = text_of(erased.out / folder)
        assert not [trace for trace in traces(erased) if trace in text], folder
    assert not (erased.out / "staging").exists()


def test_an_erasure_keeps_the_log_of_everybody_else(erased: Runs) -> None:
    logged = [i for part in erased.out.glob("log/*.parquet") for i in pq.read_table(part)["event_id"].to_pylist()]
    assert sorted(logged) == [f"eben{i}" for i in range(6)]


def test_an_erased_person_is_gone_from_the_effect_store(erased: Runs) -> None:
    text = text_of(erased.out / "stores")
    person = canonical_id(Identifier(*erased.pseudonym("user_id", "ann")))
    assert person not in text


def test_an_erased_person_is_gone_from_the_online_store(erased: Runs) -> None:
    gone = [canonical_id(Identifier(*erased.pseudonym(*item))) for item in ANN.items()]
    ben = erased.person("user_id", "ben")
    assert ben is not None
    online = OnlineTable(erased.out / "feast" / ONLINE_FILE, ROWS)
    found = online.read([*gone, ben])
    online.close()
    assert [row is None for row in found] == [True, True, False]


def test_the_ledger_counts_what_was_erased(erased: Runs) -> None:
    first, second = erased.reports[:2]
    assert (first.total.accepted, first.total.erased) == (12, 0)
    assert second.total.missing == 0
    # the request itself is of the person too; the six old events are known, or erased again
    assert second.total.accepted == 0
    assert second.total.erased + second.total.duplicate == 13


def test_an_erased_person_stays_gone_and_everybody_else_stays(erased: Runs, tmp_path: Path) -> None:
    before = erased.views()
    again = erased.run([REQUEST, *LIVES])
    assert not {name for name, count in again.gained.items() if count and name != "run_ledger"}, again.gained
    assert_same(erased.views(), before)
    # without the request: only the tombstones know
    last = erased.run([*life("ann", NOON), AFTER])
    assert (last.total.accepted, last.total.erased) == (1, 6)
    assert erased.query("SELECT count(*) FROM events") == [(7,)]
    text = text_of(erased.out / "tables")
    assert not [trace for trace in traces(erased) if trace in text]


def test_what_was_carried_to_an_erased_login_goes_in_whatever_run_it_arrives(
    make_runs: Callable[[str], Runs],
) -> None:
    tv, ann, bob = {"anonymous_id": "tv"}, {"user_id": "ann"}, {"user_id": "bob"}

    def seen(name: str, at: int, ids: dict[str, str], what: str = "home_view") -> Record:
        return event(name, what, NOON + at * MINUTE, ids)

    evening = [
        seen("bob", 0, {**tv, **bob}, "login"),
        seen("anns-look", 60, tv),
        seen("ann", 70, {**tv, **ann}, "login"),
        seen("bobs-look", 180, tv),
        seen("bob-again", 190, {**tv, **bob}, "login"),
    ]
    request = seen("erase", 1440, ann, "erasure_requested")
    late = [seen("late-before", 65, tv), seen("late-ann", 75, tv), seen("late-bob", 195, tv)]
    whole = make_runs("whole")
    whole.run([*evening, request, *late])
    parts = make_runs("parts")
    for records in ([*evening, request], late[:2], late[2:]):
        parts.run(records)
    left = [("ebob",), ("ebob-again",), ("ebobs-look",), ("elate-bob",)]
    assert parts.query("SELECT event_id FROM events ORDER BY event_id") == left
    assert_same(parts.views(), whole.views())
