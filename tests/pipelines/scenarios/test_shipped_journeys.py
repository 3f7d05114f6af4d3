"""The default ontology, identity rules and policy on journeys told in plain words: ``tests/journeys/*.yaml``."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.golden_journeys import FOLDER, scenarios
from pipelines.config import SHIPPED, ProjectConfig
from pipelines.scenarios.running import run
from pipelines.scenarios.scenario import Scenario
from pipelines.scenarios.telling import failure_text
from pipelines.scenarios.verdict import judge

SCENARIOS = [pytest.param(scenario, id=f"{Path(scenario.path).stem}: {scenario.name}") for scenario in scenarios()]


def test_there_are_scenarios() -> None:
    assert len(SCENARIOS) >= 25


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_journey(scenario: Scenario) -> None:
    verdict = judge(scenario)
    assert not verdict.failures, failure_text(verdict)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_order_in_which_events_arrive_makes_no_difference(scenario: Scenario) -> None:
    told = scenario.world.play(scenario.events, scenario.until, scenario.model)
    backwards = scenario.world.play(scenario.events[::-1], scenario.until, scenario.model)
    assert [(p.trace, p.path, p.decisions, p.plans) for p in told.persons] == [
        (p.trace, p.path, p.decisions, p.plans) for p in backwards.persons
    ]


CHANGES = [
    ("journey.yaml", "reset_by: [cart_removal, conversion]", "reset_by: [conversion]", "back from decision to disc"),
    ("journey.yaml", "weight: 1.0, half_life: 6d, cap: 2}\n      - {name: answ", "weight: 1.0, half_life: 365d, cap: 2}\n      - {name: answ", "six-week-old look at prices weighs"),  # noqa: E501
    ("journey.yaml", "after: 180d", "after: 150d", "gone for half a year"),
    ("journey.yaml", "margin: 0.30", "margin: 0.0", "still a decision in the morning"),
    ("journey.yaml", "back: 10m", "back: 0s", "waits for the least time"),
    ("journey.yaml", "certain: true ", "certain: false ", "a customer is one whatever a model says"),
    ("journey.yaml", "  gap: 30m", "  gap: 31m", "half an hour of silence"),
    ("policies/default.yaml", "stage_moves: true\n      when: email_neg", "stage_moves: false\n      when: email_neg", "decision the drip ends"),  # noqa: E501
    ("policies/default.yaml", "max: 1\n    per: 20h", "max: 2\n    per: 20h", "one mail a day"),
    ("policies/default.yaml", "cooldown: 14d", "cooldown: 1d", "sales hear of a known person"),
    ("policies/default.yaml", "when: refunds == 0 && ", "when: ", "gave goods back"),
    ("policies/default.yaml", "sales: granted", "ads: granted", "drip ends"),
    ("identity.yaml", "unique: true\n", "unique: false\n", "a mailbox that two people share"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "caught"), CHANGES)
def test_a_change_of_what_is_shipped_fails_a_scenario(
    tmp_path: Path, file: str, old: str, new: str, caught: str
) -> None:
    text = (SHIPPED / file).read_text(encoding="utf-8")
    assert old in text
    changed = tmp_path / Path(file).name
    changed.write_text(text.replace(old, new), encoding="utf-8")
    key = {"journey.yaml": "ontology", "identity.yaml": "identity"}.get(file)
    config = ProjectConfig(**({key: changed} if key else {"policies": (changed,)}))  # type: ignore[arg-type]
    results = run([FOLDER], config, "", lambda: 0.0)
    failed = [result.verdict.scenario.name for result in results.failed]
    assert any(caught in name for name in failed), failed
