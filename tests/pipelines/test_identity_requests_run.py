"""Unlink and merge through the command line and a run: persons split and join, as from scratch, and both are undone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import fastavro
import pytest
from identity_cli import LATER, answer, ask, call, parts, run_requests, world
from run_world import HOUR, NOON, Runs, assert_same, event, read_events

from contracts.event import Identifier
from features.names import ROWS
from features.online_table import ONLINE_FILE, OnlineTable


@pytest.fixture(scope="module")
def unlinked(make_runs: Callable[[str], Runs]) -> tuple[Runs, dict[str, object], str]:
    """A run; Ann unlinked from her CRM record; a run over the requests. With the answer and the person before."""
    runs = make_runs("unlink")
    runs.run(world())
    before = runs.person("crm_id", "c9")
    assert before is not None
    foreseen = ask(runs, "unlink", "user_id:ann", "crm_id:c9")
    run_requests(runs)
    return runs, foreseen, before


def test_an_unlink_splits_the_person_as_it_was_foreseen(unlinked: tuple[Runs, dict[str, object], str]) -> None:
    runs, foreseen, before = unlinked
    assert foreseen["persons_before"] == [before, before]
    assert foreseen["split"] == {before: sorted(foreseen["persons_after"])}  # type: ignore[arg-type]
    crm, ann = runs.person("crm_id", "c9"), runs.person("user_id", "ann")
    # the record takes its address along, and with it to Bob, whom it had been seen with
    assert crm == runs.person("user_id", "bob") == runs.person("email", "ann@corp.org") != ann
    for part in foreseen["parts"]:  # type: ignore[attr-defined]
        held = runs.query(f"SELECT namespace || ':' || value FROM identifiers WHERE person_id = '{part['after']}'")
        assert set(part["identifiers"]) <= {name for (name,) in held}
    assert parts(runs) == {frozenset({"e1", "e2", "e3", "e4"}), frozenset({"e5", "e6", "e7", "e8", "e9"})}


def test_no_event_is_lost_and_a_split_is_what_a_run_from_scratch_says(
    unlinked: tuple[Runs, dict[str, object], str], runs: Runs
) -> None:
    split, _, _ = unlinked
    runs.run([*read_events(split.out / "requests"), *reversed(world())])
    assert_same(split.views(), runs.views())


def test_both_parts_of_a_split_have_their_own_vector_online(
    unlinked: tuple[Runs, dict[str, object], str],
) -> None:
    runs, _, _ = unlinked
    persons = [str(runs.person("crm_id", "c9")), str(runs.person("user_id", "ann"))]
    online = OnlineTable(runs.out / "feast" / ONLINE_FILE, ROWS)
    try:
        found = online.read(persons)
    finally:
        online.close()
    newest = runs.query(
        "SELECT person_id, days_since_first FROM features QUALIFY row_number() OVER (PARTITION BY person_id "
        'ORDER BY "at" DESC) = 1'
    )
    for person, vector in zip(persons, found, strict=True):
        assert vector is not None
        assert vector.values["days_since_first"] == dict(newest)[person]


def test_a_request_is_a_record_that_opens_no_session_and_moves_no_stage(
    unlinked: tuple[Runs, dict[str, object], str],
) -> None:
    runs, foreseen, _ = unlinked
    found = runs.query("SELECT event_id, session_id, name, behaviours, flags FROM events WHERE source LIKE 'wayline%'")
    assert found == [(foreseen["event_id"], None, "identity_unlink", "[]", "[]")]
    assert runs.query("SELECT count(*) FROM sessions WHERE ended_at > TIMESTAMPTZ '2025-01-06 14:00:00Z'") == [(0,)]
    stated = runs.query("SELECT count(*) FROM transitions WHERE evidence->>'event_id' LIKE 'unlink%'")
    assert stated == [(0,)]
    activities = runs.query("SELECT sum(events) FROM sessions")
    assert activities == [(7,)], "all but the two records and the request"


def test_rows_of_the_person_that_merged_away_are_tombstones(
    unlinked: tuple[Runs, dict[str, object], str], runs: Runs
) -> None:
    runs.run(world())
    ask(runs, "merge", "user_id:ann", "user_id:bob")
    retired = {runs.person("user_id", name) for name in ("ann", "bob")}
    run_requests(runs)
    left = runs.person("user_id", "ann")
    assert left == runs.person("user_id", "bob")
    (gone,) = retired - {left}
    journeys = runs.out / "tables" / "journeys" / "r*.parquet"
    rows = runs.query(f"SELECT is_deleted, revision FROM read_parquet('{journeys}') WHERE person_id = '{gone}'")
    assert sorted(rows) == [(False, 1), (True, 2)]
    assert runs.query(f"SELECT is_current, merged_into FROM persons WHERE person_id = '{gone}'") == [(False, left)]
    online = OnlineTable(runs.out / "feast" / ONLINE_FILE, ROWS)
    assert [row is None for row in online.read([str(gone), str(left)])] == [True, False]
    online.close()


def test_a_merge_holds_whatever_limits_say_and_an_unlink_undoes_it(runs: Runs) -> None:
    runs.run(world())
    alone = runs.views(["journeys", "sessions"])
    foreseen = ask(runs, "merge", "user_id:ann", "user_id:bob")
    assert foreseen["verdict"]["status"] == "accepted"  # type: ignore[index]
    run_requests(runs)
    assert runs.query("SELECT count(*) FROM journeys") == [(1,)]
    assert len(parts(runs)) == 1
    undone = ask(runs, "unlink", "user_id:bob", "user_id:ann", LATER + HOUR)
    assert undone["split"]
    run_requests(runs)
    assert runs.query("SELECT count(*) FROM journeys") == [(2,)]
    after = runs.views(["sessions"])
    assert [row[:9] for row in after["sessions"]] == [row[:9] for row in alone["sessions"]]


def test_a_merge_undoes_an_unlink(runs: Runs) -> None:
    runs.run(world())
    before = parts(runs)
    ask(runs, "unlink", "user_id:ann", "crm_id:c9")
    run_requests(runs)
    assert parts(runs) != before
    again = ask(runs, "merge", "crm_id:c9", "user_id:ann", LATER + HOUR)
    assert again["changes"]
    run_requests(runs)
    assert parts(runs) == before
    statuses = runs.query("SELECT kind, status FROM edges WHERE kind IN ('merge', 'unlink')")
    assert sorted(statuses) == [("merge", "accepted"), ("unlink", "removed")]


def test_ids_that_tables_show_name_the_same_request_as_raw_identifiers(runs: Runs) -> None:
    runs.run(world())
    ann, bob = runs.person("user_id", "ann"), runs.person("user_id", "bob")
    raw = ask(runs, "merge", "user_id:ann", "user_id:bob")
    shown = ask(runs, "merge", str(bob), str(ann))
    assert raw == shown
    (path,) = (runs.out / "requests").glob("*.avro")
    written = path.read_bytes()
    ask(runs, "merge", str(bob), str(ann))
    assert path.read_bytes() == written
    with path.open("rb") as file:
        (record,) = list(fastavro.reader(file))
    assert {i["namespace"] for i in record["identifiers"]} == {"wayline.pseudonym.user_id"}
    assert {len(i["value"]) for i in record["identifiers"]} == {32}
    assert record["properties"] == {"requested_by": "support desk", "reason": "ticket 7"}
    run_requests(runs)
    assert runs.person("user_id", "ann") == runs.person("user_id", "bob")


def test_only_requests_may_name_pseudonyms(runs: Runs) -> None:
    runs.run(world())
    _, pseudonym = runs.pseudonym("user_id", "ann")
    reserved = {"wayline.pseudonym.user_id": pseudonym}
    posing = event("x1", "home_view", NOON + HOUR, {**reserved, "anonymous_id": "z"})
    alone = event("x2", "login", NOON + HOUR, reserved)
    alias = event("x3", "alias", NOON + HOUR, {**reserved, "anonymous_id": "z"})
    erasing = event("x4", "erasure_requested", NOON + HOUR, reserved)
    runs.run([posing, alone, alias, erasing])
    assert runs.person("anonymous_id", "z") not in (None, runs.person("user_id", "ann"))
    dead = runs.query("SELECT reason FROM dead_letters")
    assert dead == [("no_usable_identifier",)] * 2
    assert runs.query("SELECT count(*) FROM events WHERE event_id LIKE 'e_'") == [(9,)]


def test_a_pseudonym_of_another_form_is_none_even_in_a_request(runs: Runs) -> None:
    runs.run(world())
    forged = [
        Identifier("wayline.pseudonym.user_id", "ann"),
        Identifier("wayline.pseudonym.tracker_network_id", "0" * 32),
        Identifier("wayline.pseudonym.", "0" * 32),
        Identifier("wayline.pseudonym.nowhere", "0" * 32),
    ]
    assert [runs.identity.pseudonym_of(identifier) for identifier in forged] == [None] * 4
    assert runs.identity.pseudonym_of(Identifier("wayline.pseudonym.user_id", "0a" * 16)) == ("user_id", "0a" * 16)


def test_a_device_unlinked_under_carry_forward_is_no_sighting_of_its_login(runs: Runs, tmp_path: Path) -> None:
    runs.config = own_rules(tmp_path, "carry_forward")
    visits = [
        event(1, "login", NOON, {"anonymous_id": "k", "user_id": "ann"}),
        event(2, "login", NOON + HOUR, {"anonymous_id": "k", "user_id": "bob"}),
        event(3, "home_view", NOON + 5 * HOUR, {"anonymous_id": "k"}),
    ]
    runs.run(visits)
    ask(runs, "unlink", "anonymous_id:k", "user_id:ann", LATER)
    run_requests(runs)
    assert frozenset({"e2", "e3"}) in parts(runs)


def own_rules(folder: Path, owner: str, **changes: str) -> Path:
    """A configuration with other identity rules."""
    from pipelines.config import SHIPPED

    text = (SHIPPED / "identity.yaml").read_text(encoding="utf-8").replace("owner: carry_visit", f"owner: {owner}")
    for old, new in changes.items():
        text = text.replace(old.replace("__", ": ["), new)
    (folder / "identity.yaml").write_text(text, encoding="utf-8")
    config = folder / "own.yaml"
    config.write_text("shards: {strand: 4, journey: 4}\nidentity: identity.yaml\n", encoding="utf-8")
    return config


def test_requests_under_other_names_are_records_too(runs: Runs, tmp_path: Path) -> None:
    runs.config = own_rules(tmp_path, "last_known", identity_merge="Join Persons", erasure_requested="Forget Me")
    runs.run(world())
    foreseen = ask(runs, "merge", "user_id:ann", "user_id:bob")
    assert foreseen["name"] == "Join Persons"
    run_requests(runs)
    assert runs.query("SELECT session_id, flags FROM events WHERE name = 'Join Persons'") == [(None, "[]")]


# --- what cannot be asked, or does nothing ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(make_runs: Callable[[str], Runs]) -> Runs:
    """A run that no test changes; requests go to folders of their own."""
    runs = make_runs("plain")
    runs.run([*world(), event(10, "home_view", NOON + 9 * 60_000_000, {"anonymous_id": "caf\u00e9"})])
    return runs


def refused(runs: Runs, kind: str, one: str, other: str, *more: str) -> tuple[int, str]:
    from contracts.errors import WaylineError

    arguments = [one, other, "--out", str(runs.out), "--config", str(runs.config), *more]
    asked = [] if "--by" in more else ["--by", "desk", "--why", "ticket"]
    result = call(kind, *arguments, *asked)
    assert not (runs.out / "requests").exists()
    if isinstance(result.exception, WaylineError):
        return result.exception.exit_code, f"{result.exception.message} {result.exception.hint}"
    return result.exit_code, result.output


@pytest.mark.parametrize("kind", ["merge", "unlink"])
@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        ("user_id:ann", "user_id:ann", "both are the same identifier"),
        ("user_id:ann", "user_id:nobody", "nobody in"),
        ("user_id:ann", "p_00000000000000000000", "nobody in"),
        ("user_id:ann", "usr_id:bob", "did you mean 'user_id'"),
        ("user_id:ann", "user_id:null", "blocked"),
        ("user_id:ann", "tracker_network_id:n", "never say who somebody is"),
        ("user_id:ann", "user_id:" + "x" * 1_000_000, "1,000,008 characters"),
        ("user_id:ann", "user_id:" + "x" * 600, "too long"),
        ("user_id:ann", "user_id:\udce9", "no UTF-8"),
    ],
)
def test_what_cannot_be_asked_is_refused_and_nothing_is_written(
    plain: Runs, kind: str, one: str, other: str, says: str
) -> None:
    code, message = refused(plain, kind, one, other)
    assert code == 4
    assert says in message
    assert len(message) < 1_000


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (("--by", " ", "--why", "x"), 4, "--by is empty"),
        (("--by", "desk", "--why", "call ann@corp.org"), 4, "--why holds an address"),
        (("--by", "d" * 501, "--why", "x"), 4, "501 characters"),
        (("--by", "desk", "--why", "x", "--at", "2099-01-01"), 2, "not in the future"),
        (("--by", "desk", "--why", "x", "--at", "1970-01-01"), 2, "from 2000 on"),
        (("--by", "desk", "--why", "x", "--at", "soon"), 2, "no ISO 8601 time"),
    ],
)
def test_who_why_and_when_are_checked(plain: Runs, more: tuple[str, ...], code: int, says: str) -> None:
    found, message = refused(plain, "merge", "user_id:ann", "user_id:bob", *more)
    assert (found, says in message) == (code, True), message


def test_rules_that_name_no_such_event_are_a_fault_of_the_configuration(plain: Runs, tmp_path: Path) -> None:
    config = own_rules(tmp_path, "last_known", **{"  unlink: [identity_unlink]": "  unlink: []"})
    found = Runs(plain.root, plain.config)
    found.config = config
    code, message = refused(found, "unlink", "user_id:ann", "user_id:bob")
    assert code == 3
    assert "identity.yaml" in message
    assert "unlink: [identity_unlink]" in message


def request(runs: Runs, folder: Path, *arguments: str) -> str:
    more = ["--by", "desk", "--why", "ticket", "--events", str(folder), "--config", str(runs.config)]
    result = call(*arguments, "--out", runs.out, *more)
    assert result.exit_code == 0, (result.output, result.exception)
    return " ".join(result.output.split())


def test_unlinking_what_was_never_linked_says_so(plain: Runs, tmp_path: Path) -> None:
    said = request(plain, tmp_path, "unlink", "anonymous_id:a", "anonymous_id:b")
    assert "never seen together" in said
    assert "two already; from then on no evidence joins them" in said
    assert len(list(tmp_path.glob("*.avro"))) == 1


def test_merging_one_person_with_itself_says_so(plain: Runs, tmp_path: Path) -> None:
    said = request(plain, tmp_path, "merge", "user_id:ann", "crm_id:c9")
    assert "one person" in said
    assert "they are one already" in said


def test_a_value_is_found_however_its_accents_are_composed(plain: Runs, tmp_path: Path) -> None:
    said = request(plain, tmp_path, "merge", "anonymous_id:cafe\u0301", "user_id:ann")
    assert "merge into" in said


def test_a_request_names_the_next_command_in_full(plain: Runs, tmp_path: Path) -> None:
    said = request(plain, tmp_path / "two words", "merge", "user_id:ann", "user_id:bob")
    assert f"next: wayline run --input '{tmp_path / 'two words'}' --out {plain.out} --config {plain.config}" in said
    assert "note: the newest event of OUT is more than a day older" in said


def test_an_older_request_than_the_one_in_force_changes_nothing(runs: Runs) -> None:
    runs.run(world())
    ask(runs, "unlink", "user_id:ann", "crm_id:c9")
    run_requests(runs)
    older = ask(runs, "merge", "user_id:ann", "crm_id:c9", LATER - HOUR)
    assert older["overruled_by"]["kind"] == "unlink"  # type: ignore[index]
    assert not older["changes"]
    before = parts(runs)
    run_requests(runs)
    assert parts(runs) == before


def test_an_answer_in_json_is_the_answer_in_words(plain: Runs, tmp_path: Path) -> None:
    found = answer(plain, "merge", "user_id:ann", "user_id:bob", "--by", "d", "--why", "w", "--events", tmp_path)
    assert json.loads(json.dumps(found)) == found
    assert found["next"].startswith("wayline run --input ")
    assert sum(part["events"] for part in found["parts"]) == 9
