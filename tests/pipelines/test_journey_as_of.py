"""``wayline journey --as-of T``: the answer is that of a run over only the events that were known by T."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from run_world import DAY, Row, Runs, definitions
from small_model import put_in_force

from contracts.errors import InputError
from contracts.tables import JOURNEYS, TRANSITIONS, Table
from features.journey_features import FEATURE_NAMES
from pipelines.cli import wayline
from pipelines.known_by import known_by
from pipelines.plan import read_tombstones
from reports.journey_as_of import JourneyThen, journey_then, person_then
from reports.lookup import JourneyTables
from transforms.tables.output import OutputFolder
from transforms.tables.rows import transition_row

FIRST = 1_736_121_600_000_000
EARLY, LATER = FIRST + 3 * DAY, FIRST + 6 * DAY

PARTS = {
    "journeys": """person_id, epoch_us(horizon), stage, epoch_us(since), confidence, events, signals, intents,
        decided_by, model_version, ontology_version, sessions, conversions, consent""",
    "sessions": "person_id, session_id, epoch_us(started_at), epoch_us(ended_at), events, channel, conversions, views",
    "transitions": 'person_id, epoch_us("at"), from_stage, to_stage, evidence',
    "identifiers": "person_id, namespace, value, epoch_us(first_seen), epoch_us(last_seen)",
}
DECIDED = ("decision_id", "trigger", "chosen", "channel", "reason", "model_version")
SEEN = ("candidates", "features", "facts", "consent")
DECISIONS = f"""SELECT decisions.person_id, {", ".join(f"decisions.{name}" for name in DECIDED)},
        CASE WHEN decisions.channel IS NOT NULL THEN status END,
        [{", ".join(SEEN)}]
    FROM decisions LEFT JOIN actions USING (decision_id)"""
EDGES = """SELECT DISTINCT person_id, left_namespace, left_value, right_namespace, right_value, kind, accepted, status,
        rule, conflict, epoch_us(first_time), first_event_id, epoch_us(last_time), last_event_id
    FROM edges JOIN identifiers
    ON (namespace, value) IN ((left_namespace, left_value), (right_namespace, right_value))"""


def by_person(runs: Runs) -> dict[str, dict[str, list[Row]]]:
    names = (*PARTS, "features", "decisions", "edges")
    found: dict[str, dict[str, list[Row]]] = defaultdict(lambda: {name: [] for name in names})
    for name, columns in PARTS.items():
        for person, *row in runs.query(f"SELECT {columns} FROM {name}"):
            found[person][name].append(tuple(row))
    newest = f"""SELECT person_id, epoch_us("at"), {", ".join(FEATURE_NAMES)} FROM features
        QUALIFY row_number() OVER (PARTITION BY person_id ORDER BY "at" DESC) = 1"""
    for person, *row in runs.query(newest):
        found[person]["features"].append(tuple(row))
    for person, *row in runs.query(EDGES):
        found[person]["edges"].append(tuple(row))
    for person, *row, seen in runs.query(DECISIONS):
        found[person]["decisions"].append((*row, *map(json.loads, seen)))
    return found


def row_of(table: Table, row: Row) -> dict[str, Any]:
    return dict(zip(table.column_names, row, strict=False))


def told(then: JourneyThen) -> dict[str, list[Row]]:
    journey = row_of(JOURNEYS, then.journey)
    return {
        "journeys": [
            (
                then.horizon,
                then.stage,
                then.since,
                round(then.confidence, 6),
                then.events,
                journey["signals"],
                journey["intents"],
                then.decided_by,
                then.model_version,
                then.ontology_version,
                journey["sessions"],
                journey["conversions"],
                journey["consent"],
            )
        ],
        "sessions": [
            (s.session_id, s.started_at, s.ended_at, s.events, s.channel, s.conversions, s.views) for s in then.sessions
        ],
        "transitions": [
            (move.at, move.from_stage, move.to_stage, row_of(TRANSITIONS, transition_row(move))["evidence"])
            for move in then.transitions
        ],
        "identifiers": [tuple(row)[:2] + tuple(row)[3:] for row in then.identifiers],
        "features": [(then.features_at, *then.features.values())],
        "decisions": [
            (
                *(one.decision[name] for name in DECIDED),
                one.status if one.decision["channel"] else None,
                *(one.decision[name] for name in SEEN),
            )
            for one in then.decisions
        ],
        "edges": [
            (*edge.columns()[:9], edge.first_time, edge.first_event_id, edge.last_time, edge.last_event_id)
            for edge in then.edges
        ],
    }


def compared(then_known: Runs, now: Runs, time: int, registry: Path | None, *, decided: bool) -> dict[str, int]:
    """Compare the answers of ``now`` as of ``time`` with what a run stated of what was known then; rows by part.

    ``decided``: the same folder was there then, so that it has recorded the decisions of that time.
    """
    expected = by_person(then_known)
    defined = definitions(now.config)
    known = known_by(now.out, defined, time, registry)
    lived = {person for person, parts in expected.items() if parts["journeys"]}
    assert known.history.persons.keys() <= lived
    # who was erased since is not told as of any time: OUT holds none of the events any more
    events = dict(then_known.query("SELECT event_id, person_id FROM events"))
    held = {row[0] for row in now.query("SELECT event_id FROM events")}
    missing = lived - known.history.persons.keys()
    assert not missing or read_tombstones(OutputFolder(now.out))
    assert not [event for event, person in events.items() if person in missing and event in held]
    later = known_by(now.out, defined, None, registry)
    assert len(later.history.persons) != len(known.history.persons), "what came later makes a difference"
    tables = JourneyTables(now.out, defined.tables)
    rows: dict[str, int] = defaultdict(int)
    try:
        for person in known.history.persons:
            then = journey_then(
                known.history, person, known.horizon, known.ontologies, defined.config.lateness, known.score, tables
            )
            for name, found in told(then).items():
                if name == "decisions" and not decided:
                    continue
                assert sorted(found, key=repr) == sorted(expected[person][name], key=repr), (person, name)
                rows[name] += len(found)
    finally:
        tables.close()
    return rows


def test_a_journey_as_of_a_time_is_that_of_a_run_over_what_was_known_by_then(
    dirty_run: Runs, dirty_world: Any, make_runs: Callable[[str], Runs]
) -> None:
    only = make_runs("known-by")
    only.run_files(dirty_world.events, as_of=EARLY)
    rows = compared(only, dirty_run, EARLY, None, decided=False)
    assert rows["edges"]


def test_with_a_model_in_force_too_and_the_decisions_of_then_are_told(
    dirty_world: Any, make_runs: Callable[[str], Runs], tmp_path: Path
) -> None:
    registry = tmp_path / "registry"
    now, then = make_runs("known-later"), make_runs("known-then")
    version = put_in_force(registry, definitions(now.config).ontology, FIRST + 2 * DAY)
    now.run_files(dirty_world.events, as_of=LATER, registry=registry)
    shutil.copytree(now.out, then.out, dirs_exist_ok=True)
    now.run_files(dirty_world.events, registry=registry)
    rows = compared(then, now, LATER, registry, decided=True)
    assert rows["decisions"] > 20
    scored = then.query("SELECT decided_by, count(*) FROM transitions GROUP BY 1")
    assert {"rules", "model"} == {by for by, _ in scored}, "both spoke"
    assert {row[0] for row in then.query("SELECT model_version FROM decisions")} == {None, version}


def test_decisions_are_the_recorded_ones_with_what_became_of_them(dirty_run: Runs) -> None:
    person, count = dirty_run.query("SELECT person_id, count(*) FROM decisions GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1")[
        0
    ]
    asked = ["journey", person, "--out", str(dirty_run.out), "--config", str(dirty_run.config), "--json"]
    result = CliRunner().invoke(wayline, asked, catch_exceptions=False)
    now = json.loads(result.stdout)
    assert len(now["decisions"]) == count
    assert {one["decision_id"] for one in now["decisions"]} == {
        row[0] for row in dirty_run.query(f"SELECT decision_id FROM decisions WHERE person_id = '{person}'")
    }
    middle = now["decisions"][count // 2]
    then = json.loads(CliRunner().invoke(wayline, [*asked, "--as-of", middle["at"]], catch_exceptions=False).stdout)
    assert {one["decision_id"] for one in then["decisions"]} < {one["decision_id"] for one in now["decisions"]}
    assert all(one["at"] <= middle["at"] for one in then["decisions"])


def test_the_story_names_stage_evidence_and_reasons(dirty_run: Runs) -> None:
    person, reason = dirty_run.query("SELECT person_id, evidence ->> 'reason' FROM transitions ORDER BY 1, \"at\"")[0]
    asked = ["journey", person, "--out", str(dirty_run.out), "--config", str(dirty_run.config)]
    story = CliRunner().invoke(wayline, asked, catch_exceptions=False).output
    assert f"Person {person} as known at" in story
    assert " ".join(reason.split()) in " ".join(story.split())
    for part in ("Who this was", "Sessions", "Stages", "Decisions", "Features at"):
        assert part in story


def test_who_was_nobody_or_several_then_is_said(dirty_run: Runs) -> None:
    defined = definitions(dirty_run.config)
    history = known_by(dirty_run.out, defined, EARLY).history
    persons = list(history.persons)[:2]
    strands = {history.persons[person][0][1] for person in persons}
    with pytest.raises(InputError, match="was not one person then, but 2"):
        person_then(history, "p_x", strands)
    with pytest.raises(InputError, match="nothing was known of p_x then"):
        person_then(history, "p_x", ())
    assert person_then(history, persons[0], ()) == persons[0]
