"""``wayline identity explain``: tree, path, refusals and what would be, each against what runs and resolution say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from identity_cli import LATER, answer, ask, call, parts, run_requests, world
from run_world import HOUR, MINUTE, NOON, Record, Runs, event
from test_identity_requests_run import own_rules

from contracts.errors import InputError
from contracts.event import Identifier
from transforms.identity.ids import canonical_id


@pytest.fixture(scope="module")
def known(make_runs: Callable[[str], Runs]) -> Runs:
    """A run, an unlink of Bob's cookie, and a phone of a call centre."""
    runs = make_runs("explained")
    calls = [
        event(f"c{n}", "support_call", NOON + (20 + n) * MINUTE, {"user_id": f"caller-{n}", "phone": "+4930123456"})
        for n in range(10)
    ]
    runs.run([*world(), *calls, event("c", "support_call", NOON + HOUR, {"user_id": "ann", "phone": "+4930123456"})])
    ask(runs, "unlink", "anonymous_id:b", "user_id:bob")
    run_requests(runs)
    return runs


def name(runs: Runs, namespace: str, value: str) -> str:
    return ":".join(runs.pseudonym(namespace, value))


def test_the_tree_names_who_holds_whom_by_which_event(known: Runs) -> None:
    found = answer(known, "explain", "user_id:ann")
    ann, crm, mail, cookie = (
        name(known, *one)
        for one in (("user_id", "ann"), ("crm_id", "c9"), ("email", "ann@corp.org"), ("anonymous_id", "a"))
    )
    tree = [(b["identifier"], b["parent"], b["depth"], (b["edge"] or {}).get("first_event_id")) for b in found["tree"]]
    assert tree == [(ann, None, 0, None), (crm, ann, 1, "e4"), (mail, crm, 2, "e5"), (cookie, ann, 1, "e2")]
    assert found["person_id"] == known.person("user_id", "ann") == found["tree"][0]["alias"]
    assert found["events"] == 6
    assert found["carried"] == []


def test_what_was_refused_is_told_with_what_stood_against_it(known: Runs) -> None:
    found = answer(known, "explain", "user_id:ann")
    refused = {edge["rule"]: edge for edge in found["against"]}
    assert refused["limit:user_id"]["conflict"] in {name(known, "user_id", "ann"), name(known, "user_id", "bob")}
    assert refused["demoted"]["conflict"] == name(known, "phone", "+4930123456")
    assert found["demoted"] == {name(known, "phone", "+4930123456"): "demoted"}
    cookie = answer(known, "explain", "anonymous_id:b")
    assert {(edge["kind"], edge["status"], edge["rule"]) for edge in cookie["against"]} == {
        ("seen", "removed", "unlink"),
        ("unlink", "barred", "unlink"),
    }


def test_the_path_of_one_person_holds_and_that_to_another_names_what_stands_between(known: Runs) -> None:
    one = answer(known, "explain", "anonymous_id:a", "--path", "email:ann@corp.org")["path"]
    assert one["one_person"]
    assert [step["edge"]["first_event_id"] for step in one["steps"]] == ["e2", "e4", "e5"]
    other = answer(known, "explain", "anonymous_id:a", "--path", "user_id:bob")["path"]
    assert not other["one_person"]
    assert [(s["edge"]["rule"], s["holds"]) for s in other["steps"]][-1] == ("limit:user_id", False)
    far = answer(known, "explain", "user_id:ann", "--path", "anonymous_id:b")["path"]
    assert [s["edge"]["status"] for s in far["steps"] if not s["holds"]] == ["refused", "removed"]
    centre = answer(known, "explain", "user_id:caller-1", "--path", "user_id:caller-2")["path"]
    assert [s["edge"]["rule"] for s in centre["steps"]] == ["demoted", "demoted"]


def test_what_would_be_without_an_edge_is_what_a_run_without_its_event_says(known: Runs, runs: Runs) -> None:
    found = answer(known, "explain", "user_id:ann", "--without", "user_id:ann crm_id:c9")["without"]
    (what,) = found
    left = {i for identifiers in what["leaves"].values() for i in identifiers}
    assert left == {name(known, "crm_id", "c9"), name(known, "email", "ann@corp.org")}
    # the event of the pair itself goes nowhere: it names its login
    assert (what["identifiers"], what["events"]) == (2, 1)
    without = [record for record in world() if record["event_id"] != "e4"]
    runs.run(without)
    (person,) = what["leaves"]
    assert person == runs.person("crm_id", "c9") == runs.person("email", "ann@corp.org")
    assert what["stays"] == runs.person("user_id", "ann") == runs.person("anonymous_id", "a")


def test_every_edge_of_the_tree_is_asked_up_to_the_limit(known: Runs) -> None:
    whole = answer(known, "explain", "user_id:ann", "--limit", "0")
    assert len(whole["without"]) == len(whole["tree"]) - 1 == 3
    short = answer(known, "explain", "user_id:ann", "--limit", "1")
    assert [len(short[key]) for key in ("tree", "without", "against")] == [1, 1, 1]
    words = call("explain", "user_id:ann", "--out", known.out, "--config", known.config, "--limit", "1").output
    assert "3 more identifiers; --limit 0 shows all" in words
    assert "2 more edges; --limit 0 shows all" in words


@pytest.mark.parametrize("asked", ["alias", "pseudonym", "strand", "session"])
def test_any_id_ever_shown_leads_to_the_person(known: Runs, asked: str) -> None:
    namespace, pseudonym = known.pseudonym("crm_id", "c9")
    person = known.person("user_id", "ann")
    row = known.query(f"SELECT strand_id, session_id FROM events WHERE person_id = '{person}' AND event_id = 'e2'")[0]
    ids = {
        "alias": canonical_id(Identifier(namespace, pseudonym)),
        "pseudonym": pseudonym,
        "strand": row[0],
        "session": row[1],
    }
    found = answer(known, "explain", ids[asked])
    assert found["person_id"] == person
    assert asked in found["asked"] or asked == "pseudonym"


def test_nothing_linked_is_no_edge_to_remove(known: Runs) -> None:
    arguments = ["user_id:ann", "--out", known.out, "--config", known.config]
    result = call("explain", *arguments, "--without", "user_id:ann anonymous_id:b")
    assert isinstance(result.exception, InputError)
    assert "never seen together" in result.exception.message
    assert call("explain", *arguments, "--without", "user_id:ann").exit_code == 2


@pytest.mark.parametrize("asked", ["user_id:" + "x" * 1_000_000, "user_id:\udcff", "user_id:guest", "nothing-known"])
def test_an_id_that_nobody_can_have_is_answered_shortly(known: Runs, asked: str) -> None:
    result = call("explain", asked, "--out", known.out, "--config", known.config)
    assert isinstance(result.exception, InputError)
    assert len(result.exception.message) < 500


def test_words_hold_what_json_holds(known: Runs) -> None:
    arguments = ["explain", "user_id:ann", "--out", known.out, "--config", known.config, "--path", "user_id:bob"]
    said = " ".join(call(*arguments).output.split())
    for part in (
        "What holds it together",
        "names the person",
        "no path holds; 1 edge of this one stand between",
        "a person may not have so many values of user_id",
        "one end was seen with so many logins that it links nothing",
        "What would be without an edge",
        "is demoted: it links nobody any more",
    ):
        assert part in said, part


def shared_device() -> list[Record]:
    """A tablet that Ann and Bob log in to in turn, the second time without a logout in between."""
    return [
        event(1, "home_view", NOON, {"anonymous_id": "t"}),
        event(2, "login", NOON + MINUTE, {"anonymous_id": "t", "user_id": "ann"}),
        event(3, "product_view", NOON + 2 * MINUTE, {"anonymous_id": "t"}),
        event(4, "logout", NOON + 3 * MINUTE, {"anonymous_id": "t", "user_id": "ann"}),
        event(5, "home_view", NOON + 4 * MINUTE, {"anonymous_id": "t"}),
        event(6, "login", NOON + 5 * MINUTE, {"anonymous_id": "t", "user_id": "bob"}),
        event(7, "pricing_view", NOON + 6 * MINUTE, {"anonymous_id": "t"}),
    ]


def test_a_device_in_several_hands_is_told_of_each_of_them(runs: Runs, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from pipelines.cli import wayline

    runs.config = own_rules(tmp_path, "carry_forward")
    runs.run(shared_device())
    # after Ann's logout the device is whose who logs in next
    assert parts(runs) == {frozenset({"e1", "e2", "e3", "e4"}), frozenset({"e5", "e6", "e7"})}
    bob = answer(runs, "explain", "user_id:bob")
    assert bob["carried"] == [name(runs, "anonymous_id", "t")]
    # without Bob's login the device is no shared one, and Ann's
    (what,) = answer(runs, "explain", "user_id:bob", "--without", "anonymous_id:t user_id:bob")["without"]
    assert what["identifiers"] == 1
    for user, events in (("ann", "2 of 4 events"), ("bob", "2 of 4 events")):
        arguments = ["explain", "--out", str(runs.out), "--config", str(runs.config), "--person", f"user_id:{user}"]
        said = " ".join(CliRunner().invoke(wayline, arguments).output.split())
        assert f"was in several hands in turn: {events} without a login are this person's" in said
        assert "is the person's who logged in last before it" in said
    strand = runs.query("SELECT strand_id FROM events WHERE event_id = 'e7'")[0][0]
    assert "parts of it are others'" in answer(runs, "explain", strand)["asked"]


def test_requests_and_later_edges_are_told_in_words(runs: Runs) -> None:
    runs.run(world())
    ask(runs, "merge", "user_id:ann", "user_id:bob")
    run_requests(runs)
    ask(runs, "unlink", "user_id:ann", "crm_id:c9", LATER + MINUTE)
    run_requests(runs)
    said = " ".join(call("explain", "user_id:bob", "--out", runs.out, "--config", runs.config).output.split())
    assert "a merge: somebody asked for it, whatever limits say" in said
    found = answer(runs, "explain", "crm_id:c9")
    assert {edge["status"] for edge in found["against"]} >= {"barred"}
