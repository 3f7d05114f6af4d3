"""Verdicts: what differs fails, and the failure says what came and why; the command, its XML and its watch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from contracts.errors import CheckFailedError, ConfigurationError, UsageError
from pipelines.cli import wayline
from pipelines.config import ProjectConfig
from pipelines.scenarios import running
from pipelines.scenarios.running import Results
from pipelines.scenarios.telling import failure_text
from pipelines.scenarios.verdict import Failure

CART = """
- scenario: a cart
  events:
    - day 1 10:00 add_to_cart as anna
    - +1m cart_view as anna
  until: day 1 12:00
  stages: [discovery, decision at day 1 10:01]
  sessions: 1
  conversions: 0
  decisions: [sales_alert at day 1 10:01]
  withheld: [checkout_help by not_eligible]
  checks: [day 1 10:01 filling_cart at least 2.9, day 1 11:00 stage is decision, day 1 11:00 is_known is true]
"""


def played(tmp_path: Path, text: str, config: ProjectConfig | None = None) -> Results:
    (tmp_path / "cart.yaml").write_text(text, encoding="utf-8")
    return running.run([tmp_path / "cart.yaml"], config or ProjectConfig(), "", lambda: 0.0)


def failures(tmp_path: Path, text: str) -> list[Failure]:
    return [failure for result in played(tmp_path, text).all for failure in result.verdict.failures]


def test_what_comes_as_expected_passes(tmp_path: Path) -> None:
    assert failures(tmp_path, CART) == []


@pytest.mark.parametrize(
    ("old", "new", "what", "line"),
    [
        ("stages: [discovery, decision at day 1 10:01]", "stages: [discovery]", "stages", 7),
        ("decision at day 1 10:01]\n  ses", "decision at day 1 10:02]\n  ses", "stages", 7),
        ("decision at day 1 10:01]\n  ses", "decision, customer]\n  ses", "stages", 7),
        ("sessions: 1", "sessions: 2", "sessions", 8),
        ("conversions: 0", "conversions: 1", "conversions", 9),
        ("  decisions: [sales_alert at day 1 10:01]\n", "", "decisions", 2),
        ("sales_alert at day 1 10:01", "sales_alert at day 1 10:05", "decisions", 10),
        ("sales_alert at day 1 10:01", "sales_alert, email_welcome", "decisions", 10),
        ("by not_eligible", "by cap", "withheld", 11),
        ("at least 2.9", "above 3", "check at day 1 10:01", 12),
        ("stage is decision", "stage is customer", "check at day 1 11:00", 12),
        ("is_known is true", "is_known is false", "check at day 1 11:00", 12),
        ("day 1 11:00 is_known", "day 1 09:00 is_known", "check at day 1 09:00", 12),
        ("cart_view as anna", "cart_view on phone", "persons", 2),
        ("cart_view as anna", "cart_view as anna arriving +9d", "events turned away", 2),
    ],
)
def test_whatever_differs_fails_at_its_line(tmp_path: Path, old: str, new: str, what: str, line: int) -> None:
    assert old in CART
    found = failures(tmp_path, CART.replace(old, new))
    assert what in [failure.what for failure in found]
    if what in ("stages", "decisions", "withheld") or what.startswith("check"):
        assert line in [failure.line for failure in found if failure.what == what]


def test_a_stage_that_a_window_of_a_feature_keeps_ends_with_it_as_in_a_run(tmp_path: Path) -> None:
    shipped = ProjectConfig().ontology.read_text(encoding="utf-8")
    assert shipped.count("entry: {intent: 2.1}") == 1
    ontology = tmp_path / "journey.yaml"
    ontology.write_text(shipped.replace("entry: {intent: 2.1}", "entry: {when: pricing_views_30d >= 1.0}"))
    scenario = """
- scenario: prices
  events: [day 1 10:00 pricing_view on phone]
  until: day 40
  stages: [decision at day 1 10:00, discovery at day 31 10:00]
"""
    results = played(tmp_path, scenario, ProjectConfig(ontology=ontology))
    found = [failure for result in results.all for failure in result.verdict.failures]
    assert [failure for failure in found if failure.what == "stages"] == []


def test_persons_that_nobody_expects_fail(tmp_path: Path) -> None:
    text = """
- scenario: two
  events: [day 1 10:00 home_view on a, +1m home_view on b]
  people: {a: {stages: [discovery]}}
"""
    (failure,) = failures(tmp_path, text)
    assert (failure.what, failure.came) == ("persons", "a; b")


def test_a_failure_shows_signals_with_what_they_are_worth_and_the_rule_that_spoke(tmp_path: Path) -> None:
    results = played(tmp_path, CART.replace("day 1 10:01]\n  ses", "day 1 10:02]\n  ses"))
    text = failure_text(results.failed[0].verdict)
    for said in (
        f"FAILED {tmp_path / 'cart.yaml'}:2: a cart",
        "expected: discovery, decision at day 1 10:02",
        "came:     discovery at day 1 10:00, decision at day 1 10:01",
        "> decision, said by rules: decision: intent 3.00 reaches 2.1",
        "decision.filling_cart 3.000, fed 2 times, last at day 1 10:01",
        "= team: sales_call_within_minutes by sales",
        "not checkout_help, not_eligible: does not hold: checkouts > conversions",
    ):
        assert said in text, text


def test_the_command_ends_with_9_when_a_scenario_fails_and_writes_junit(tmp_path: Path) -> None:
    (tmp_path / "cart.yaml").write_text(
        CART.replace("sessions: 1", "sessions: 2") + CART.replace("a cart", "<a> & b\\x01"), encoding="utf-8"
    )
    xml = tmp_path / "out.xml"
    outcome = CliRunner().invoke(wayline, ["test", str(tmp_path), "--junit", str(xml)])
    assert isinstance(outcome.exception, CheckFailedError)
    assert outcome.exception.exit_code == 9
    assert "2 scenarios, 1 failed" in outcome.output
    suite = ElementTree.parse(xml).getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    failed, passed = suite
    assert failed[0].get("message") == "sessions: expected 2; came 1, from day 1 10:00"
    assert "filling_cart" in (failed[0].text or "")
    assert len(passed) == 0
    assert failed.get("line") == "2"


def test_the_command_takes_a_word_an_ontology_and_a_folder_of_policies(tmp_path: Path) -> None:
    (tmp_path / "cart.yaml").write_text(CART + CART.replace("a cart", "Other Thing"), encoding="utf-8")
    outcome = CliRunner().invoke(wayline, ["test", str(tmp_path), "-k", "other"])
    assert (outcome.exception, outcome.output.split(",")[0]) == (None, "1 scenario")
    with_none = CliRunner().invoke(wayline, ["test", str(tmp_path), "-k", "nothing-like-it"])
    assert isinstance(with_none.exception, UsageError)
    missing = CliRunner().invoke(wayline, ["test", str(tmp_path), "--ontology", str(tmp_path / "no.yaml")])
    assert isinstance(missing.exception, ConfigurationError)
    policies = tmp_path / "policies"
    policies.mkdir()
    shipped = ProjectConfig().policies[0].read_text(encoding="utf-8")
    (policies / "mine.yaml").write_text(shipped.replace("is_known || ", ""), encoding="utf-8")
    changed = CliRunner().invoke(wayline, ["test", str(tmp_path), "--policies", str(policies)])
    assert isinstance(changed.exception, CheckFailedError)


def test_the_watch_runs_again_when_a_file_changes_and_survives_what_is_told_wrongly(tmp_path: Path) -> None:
    path = tmp_path / "cart.yaml"
    path.write_text(CART, encoding="utf-8")
    said: list[str] = []
    attempts: list[int] = []

    def attempt() -> Results:
        attempts.append(len(said))
        return running.run([tmp_path], ProjectConfig(), "", lambda: 0.0)

    def write(text: str, second: int) -> None:
        path.write_text(text, encoding="utf-8")
        os.utime(path, (second, second))

    def steps() -> Iterator[bool]:
        yield True  # nothing changes
        write(CART.replace("sessions: 1", "sessions: 2"), 1_000)
        yield True
        write(CART.replace("sessions", "sesions"), 2_000)
        yield True
        yield True
        write(CART, 3_000)
        yield True
        yield False

    going = steps()
    running.watch([tmp_path], attempt, ProjectConfig().policies, said.append, lambda: next(going))
    told = "\n".join(said)
    assert len(attempts) == 4
    assert told.count("all as expected") == 2
    assert told.count("1 scenario, 1 failed") == 1
    assert told.count("did you mean 'sessions'") == 1


def test_the_watch_sees_a_change_of_the_ontology(tmp_path: Path) -> None:
    (tmp_path / "cart.yaml").write_text(CART, encoding="utf-8")
    ontology = tmp_path / "files" / "journey.yaml"
    ontology.parent.mkdir()
    text = ProjectConfig().ontology.read_text(encoding="utf-8")
    ontology.write_text(text, encoding="utf-8")
    said: list[str] = []

    def steps() -> Iterator[bool]:
        ontology.write_text(text.replace("entry: {intent: 2.1}", "entry: {intent: 3.5}"), encoding="utf-8")
        os.utime(ontology, (1_000, 1_000))
        yield True
        yield False

    going = steps()
    config = ProjectConfig(ontology=ontology)
    running.watch(
        [tmp_path], lambda: running.run([tmp_path], config, "", lambda: 0.0), [], said.append, lambda: next(going)
    )
    told = "\n".join(said)
    assert told.index("all as expected") < told.index("1 failed")
