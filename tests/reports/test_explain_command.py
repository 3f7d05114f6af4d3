"""`wayline explain`: any id ever shown leads to its story; an unknown one to the nearest thing to do."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.cli import main
from pipelines.definitions import Definitions
from reports.explain import explain_decision, explain_event, explain_person
from reports.letters import letters_of
from reports.lookup import JourneyTables, Row
from reports.replaying import DIFFERENT, IMPOSSIBLE, SAME, replayed
from reports.tell_decisions import is_unasked
from transforms.dead_letter import DeadLetterBox
from transforms.decide.rules import PolicySet
from transforms.decode import newest_decoder
from transforms.keys import read_key_file

Explain = Callable[..., tuple[int, str, str]]


@pytest.fixture
def explain(tiny_out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Explain:
    monkeypatch.delenv("WAYLINE_PSEUDONYM_KEY", raising=False)
    monkeypatch.delenv("WAYLINE_DEAD_LETTER_KEY", raising=False)

    def call(*arguments: str, out: Path = tiny_out) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["explain", "--out", str(out), *arguments])
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return call


# --- persons --------------------------------------------------------------------------------------------------------


def test_a_person_is_told_from_identity_to_outcomes(explain: Explain, busiest: Row) -> None:
    code, story, _ = explain("--person", busiest["person_id"])
    assert code == 0
    titles = [
        "Who this is",
        "Sessions",
        "Events",
        "What speaks for which stage",
        "How the stage moved",
        "What the model said",
        "What was decided, and why not more",
        "What came back",
    ]
    places = [story.index(title) for title in titles]
    assert places == sorted(places)
    assert busiest["stage"] in story.splitlines()[1]
    assert "no model was in force" in story


def test_every_id_of_a_person_leads_to_it(explain: Explain, found: JourneyTables, busiest: Row) -> None:
    person_id = busiest["person_id"]
    holder = found.rows("identifiers", "person_id = ?", [person_id])
    event = found.first("events", "person_id = ? AND session_id IS NOT NULL", [person_id])
    assert event is not None
    ids = [row["person_id"] for row in found.aliases(person_id)][:2]
    ids += [event["strand_id"], event["session_id"], holder[0]["value"]]
    ids += [f"{holder[0]['namespace']}:{holder[0]['value']}"]
    for asked in ids:
        code, story, _ = explain("--person", asked, "--limit", "1")
        assert code == 0, asked
        assert f"Person {person_id}" in story, asked


def test_a_raw_identifier_is_found_by_its_pseudonym_and_not_repeated(
    explain: Explain, found: JourneyTables, tiny_out: Path
) -> None:
    truth = pq.read_table(tiny_out.parent / "world" / "truth" / "identifiers.parquet").to_pylist()
    people = set()
    for row in [row for row in truth if row["namespace"] in ("user_id", "phone", "email_sha256")][:4]:
        code, story, errors = explain("--person", f"{row['namespace']}:{row['value']}", "--limit", "1")
        assert row["value"] not in story + errors
        if code == 0:
            people.add(re.search(r"Person (p_\w+)", story).group(1))  # type: ignore[union-attr]
        else:
            # the person never used it: told so, by its pseudonym
            assert "its pseudonym" in errors
    assert people <= {row["person_id"] for row in found.rows("persons", "is_current")}
    assert people


def test_a_raw_identifier_needs_the_key(explain: Explain, tiny_out: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(tiny_out, moved, ignore=shutil.ignore_patterns("feast", "log", "stores", "keys", "staging"))
    code, _, errors = explain("--person", "user_id:u1", out=moved)
    assert code == 3
    assert "WAYLINE_PSEUDONYM_KEY" in errors
    key = tiny_out / "keys" / "pseudonym.key"
    code, _, errors = explain("--person", "user_id:u-nobody", "--pseudonym-key", str(key), out=moved)
    assert code == 4
    assert "u-nobody" not in errors


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("p_0000", "namespace:value"),
        ("usr_id:42", "did you mean 'user_id'"),
        ("user_id:null", "blocked"),
        ("tracker_network_id:7", "never say who"),
        ("jo@example.com", "email:ADDRESS"),
    ],
)
def test_an_unknown_person_is_one_message_and_a_remedy(explain: Explain, asked: str, said: str) -> None:
    code, story, errors = explain("--person", asked)
    assert (code, story) == (4, "")
    assert said in errors
    assert "Traceback" not in errors
    assert "@" not in errors


def test_a_long_journey_is_shortened_and_says_so(explain: Explain, busiest: Row) -> None:
    short = explain("--person", busiest["person_id"], "--limit", "2")[1]
    whole = explain("--person", busiest["person_id"], "--limit", "0")[1]
    assert f"the newest 2 of {busiest['events']} events" in short
    assert "--limit 0 shows all" not in whole
    assert len(whole.splitlines()) > len(short.splitlines()) + busiest["events"] - 2


def test_no_line_is_wider_than_a_hundred_columns(explain: Explain, found: JourneyTables, busiest: Row) -> None:
    decision = found.first("decisions", "chosen <> 'nothing'", order="decision_id")
    event = found.first("events", "TRUE", order="event_id")
    assert decision is not None
    assert event is not None
    for asked in (
        ("--person", busiest["person_id"], "--limit", "0"),
        ("--decision", decision["decision_id"]),
        ("--event", event["event_id"]),
    ):
        assert max(map(len, explain(*asked)[1].splitlines())) <= 100


def test_one_thing_is_asked_for_at_a_time(explain: Explain) -> None:
    assert explain()[0] == 2
    assert explain("--person", "a", "--event", "b")[0] == 2


# --- events ---------------------------------------------------------------------------------------------------------


def test_an_event_that_moved_the_stage_tells_signal_move_and_decisions(
    explain: Explain, found: JourneyTables, definitions: Definitions
) -> None:
    moves = found.rows("transitions", "from_stage IS NOT NULL AND session_id IS NOT NULL", order='"at"')
    event_id = moves[0]["evidence"]["event_id"]
    story = explain_event(found, event_id, definitions.ontology, definitions.policies)
    assert story.moves
    assert story.deeds
    assert {row["signal"] for row in story.named} <= {signal.name for signal in story.listening}
    told = explain("--event", event_id)[1]
    assert "accepted" in told
    assert "What it moved" in told
    assert story.deeds[0].decision["decision_id"] in told


def test_every_accepted_event_has_a_story(found: JourneyTables, definitions: Definitions) -> None:
    for row in found.rows("events", "TRUE", order="event_id", limit=6):
        story = explain_event(found, row["event_id"], definitions.ontology, definitions.policies)
        assert story.event == row
        assert (story.place > 0) == (row["session_id"] is not None)


def _dead_event(found: JourneyTables, table: str) -> tuple[str, Row]:
    """The id of an event that was rejected, which only the key's holder can know."""
    box = DeadLetterBox(read_key_file(found.out / "keys" / "dead_letter.key"))
    row = found.rows(table, "payload_schema = 'event'", order="dead_letter_id")[0]
    return newest_decoder().decode(box.open(row["dead_letter_id"], row["payload"])).event_id, row


@pytest.mark.parametrize("table", ["dead_letters", "expired_late"])
def test_a_rejected_event_is_found_and_its_payload_is_not_told(
    table: str, explain: Explain, found: JourneyTables
) -> None:
    event_id, row = _dead_event(found, table)
    for asked in (event_id, row["dead_letter_id"]):
        code, story, _ = explain("--event", asked)
        assert code == 0
        assert row["reason"] in story
        assert "replay-dead-letters" in story
    letters, unread = letters_of(found, event_id, DeadLetterBox(read_key_file(found.out / "keys" / "dead_letter.key")))
    assert all("payload" not in letter for letter in letters)
    assert unread == 0


def test_without_the_key_dead_letters_are_counted_not_searched(
    explain: Explain, found: JourneyTables, tiny_out: Path, tmp_path: Path
) -> None:
    event_id, _ = _dead_event(found, "dead_letters")
    moved = tmp_path / "moved"
    shutil.copytree(tiny_out, moved, ignore=shutil.ignore_patterns("feast", "log", "stores", "keys", "staging"))
    code, _, errors = explain("--event", event_id, out=moved)
    assert code == 4
    assert "--dead-letter-key" in errors


def test_an_id_of_another_kind_is_recognised(explain: Explain, found: JourneyTables, busiest: Row) -> None:
    decision = found.rows("decisions", "TRUE", limit=1)[0]["decision_id"]
    assert f"--decision {decision}" in explain("--event", decision)[2]
    assert f"--person {busiest['person_id']}" in explain("--decision", busiest["person_id"])[2]
    assert busiest["person_id"] in explain("--person", busiest["person_id"][:9])[2]


# --- decisions ------------------------------------------------------------------------------------------------------


def test_every_decision_replays_to_the_same_answer(found: JourneyTables, definitions: Definitions) -> None:
    rows = found.rows("decisions", "TRUE")
    assert len(rows) > 50
    assert {(replayed(row, definitions.policies).verdict) for row in rows} == {SAME}


def test_a_record_that_lies_is_seen(found: JourneyTables, definitions: Definitions) -> None:
    row = found.rows("decisions", "chosen <> 'nothing' AND channel IN ('email', 'ads')", limit=1)[0]
    denied = replayed({**row, "consent": dict.fromkeys(row["consent"], False)}, definitions.policies)
    assert denied.verdict == DIFFERENT
    assert f"chosen was {row['chosen']}" in denied.detail


def test_a_decision_of_another_policy_is_not_replayed(found: JourneyTables, definitions: Definitions) -> None:
    row = found.rows("decisions", "TRUE", limit=1)[0]
    other = replayed({**row, "policy_version": "default@000000000000"}, definitions.policies)
    assert other.verdict == IMPOSSIBLE
    stranger = replayed({**row, "plan": None, "plan_step": None, "candidates": []}, definitions.policies)
    assert stranger.verdict == IMPOSSIBLE


def test_a_decision_names_the_event_that_asked_for_it(found: JourneyTables, policies: PolicySet) -> None:
    rows = found.rows("decisions", "TRUE", order="decision_id", limit=10)
    for row in rows:
        story = explain_decision(found, row["decision_id"], policies)
        if story.asked_by is None:
            assert row["session_id"] is None
        elif row["plan"] is None:
            assert story.asked_by["event_time"] == row["at"]
        else:
            assert story.asked_by["event_time"] < row["at"]


@pytest.fixture
def policies(definitions: Definitions) -> PolicySet:
    return definitions.policies


def test_a_decision_tells_candidates_values_versions_and_replay(explain: Explain, found: JourneyTables) -> None:
    rows = found.rows("decisions", "contains(candidates, 'does not hold: ')", order="decision_id", limit=1)
    row = rows[0]
    story = explain("--decision", row["decision_id"])[1]
    for candidate in row["candidates"]:
        assert candidate["name"] in story
    assert row["policy_version"] in story
    assert row["ontology_version"] in story
    assert "the same answer" in story
    assert "does not hold" in story


def test_an_action_leads_to_its_decision(explain: Explain, found: JourneyTables) -> None:
    action = found.rows("actions", "TRUE", order="action_id", limit=1)[0]
    assert f"Decision {action['decision_id']}" in explain("--decision", action["action_id"])[1]


def test_only_candidates_meant_for_other_moments_are_passed_over(found: JourneyTables) -> None:
    """What a policy says of a condition, a consent or a cap must never be hidden."""
    hidden = {
        (candidate["name"], row["trigger"], row["stage"], row["facts"].get("policy.from_stage"))
        for row in found.rows("decisions", "TRUE")
        for candidate in row["candidates"]
        if is_unasked(candidate)
    }
    judged = {
        (candidate["name"], row["trigger"], row["stage"], row["facts"].get("policy.from_stage"))
        for row in found.rows("decisions", "TRUE")
        for candidate in row["candidates"]
        if not is_unasked(candidate)
    }
    assert hidden
    assert judged
    assert not hidden & judged


def test_a_story_holds_all_decisions_and_outcomes_of_a_person(found: JourneyTables, busiest: Row) -> None:
    story = explain_person(found, busiest["person_id"])
    assert len(story.events) == busiest["events"]
    assert len(story.sessions) == busiest["sessions"]
    assert {deed.decision["person_id"] for deed in story.deeds} <= {
        busiest["person_id"],
        *(row["person_id"] for row in story.aliases),
    }
    assert all(deed.action is not None for deed in story.deeds)
