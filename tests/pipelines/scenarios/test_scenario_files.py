"""Scenario files: how times and events are said, what is refused and how, and which files speak for a scenario."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ConfigurationError
from contracts.event import DAY, HOUR, MINUTE, SECOND, Identifier
from pipelines.config import SHIPPED, ProjectConfig
from pipelines.scenarios.scenario import Scenario, cached_worlds, read_scenarios
from pipelines.scenarios.verdict import judge
from pipelines.scenarios.when import read_when, shown

BEGIN = 1_704_067_200_000_000
WORLDS = cached_worlds()
TEN = BEGIN + 10 * HOUR


def read(tmp_path: Path, text: str) -> list[Scenario]:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return list(read_scenarios(path, ProjectConfig(), WORLDS))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("day 1 10:00", TEN),
        ("day 3 at 9:05", BEGIN + 2 * DAY + 9 * HOUR + 5 * MINUTE),
        ("day 1 10:00:30", TEN + 30 * SECOND),
        ("day 2", BEGIN + DAY),
        ("2024-02-29 09:30", BEGIN + 59 * DAY + 9 * HOUR + 30 * MINUTE),
        ("+5m", TEN + 5 * MINUTE),
        ("+1h30m", TEN + 90 * MINUTE),
        ("+ 2 days at 08:00", BEGIN + 2 * DAY + 8 * HOUR),
        ("+2d 10:00", BEGIN + 2 * DAY + 10 * HOUR),
        ("after 40 days of silence", TEN + 40 * DAY),
        ("after 2 weeks", TEN + 14 * DAY),
    ],
)
def test_a_time_as_people_say_it(text: str, expected: int) -> None:
    assert read_when(text, BEGIN, TEN).at == expected


@pytest.mark.parametrize("text", ["day 0 10:00", "day 1 25:00", "tomorrow", "+5", "2024-13-01", "+0d 09:00", ""])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no time|counted from 1|month|before what"):
        read_when(text, BEGIN, TEN)


def test_a_relative_time_needs_something_before_it() -> None:
    with pytest.raises(ValueError, match="counts from"):
        read_when("+5m", BEGIN, None)


@given(st.integers(0, 400 * 24 * 3600))
def test_a_time_that_is_shown_can_be_said(seconds: int) -> None:
    at = BEGIN + seconds * SECOND
    assert read_when(shown(at, BEGIN), BEGIN, None).at == at


def test_an_event_says_where_who_and_what_belongs_to_it(tmp_path: Path) -> None:
    (scenario,) = read(
        tmp_path,
        """
- scenario: all of it
  who: {anna: {user_id: anna-7, phone: "+4930123456"}}
  events:
    - day 1 10:00 Order Completed /thanks on laptop as anna yes to email, push no to ads worth 12.5 arriving +2h
    - +5m page_view /pricing
    - {at: +1h, event: email_clicked, on: nothing, as: anna, answering: a1, channel: email, campaign: spring}
  stages: [customer]
""",
    )
    first, second, third = scenario.events
    assert (first.name, first.context.path, first.event_time, first.received_time) == (
        "Order Completed", "/thanks", TEN, TEN + 2 * HOUR,
    )  # fmt: skip
    assert set(first.identifiers) == {
        Identifier("anonymous_id", "laptop"), Identifier("user_id", "anna-7"), Identifier("phone", "+4930123456"),
    }  # fmt: skip
    assert first.consent == {"email": True, "push": True, "ads": False}
    assert first.properties == {"value": 12.5}
    assert (second.identifiers, second.event_time) == ((Identifier("anonymous_id", "browser"),), TEN + 5 * MINUTE)
    assert (third.action_id, third.channel, third.context.campaign_name) == ("a1", "email", "spring")
    assert Identifier("anonymous_id", "nothing") not in third.identifiers


GOOD = """
- scenario: one
  events:
    - day 1 10:00 home_view
  until: day 2
  stages: [discovery]
"""


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("stages:", "stagse:", 6, "did you mean 'stages'"),
        ("[discovery]", "[discvery]", 6, "did you mean 'discovery'"),
        ("home_view", "hme_view", 4, "did you mean 'home_view'"),
        ("day 1 10:00 home_view", "10:00 home_view", 4, "is no event"),
        ("day 1 10:00", "day 1", 4, "time of the day"),
        ("day 1 10:00", "+5m", 4, "counts from"),
        ("home_view", "home_view yes to mail", 4, "email"),
        ("home_view", "home_view on a on b", 4, "twice"),
        ("until: day 2", "until: day 1 09:00", 5, "before the last event"),
        ("until: day 2", "decisions: [email_welcom]", 5, "did you mean 'email_welcome'"),
        ("until: day 2", "withheld: [email_welcome by caps]", 5, "did you mean 'cap'"),
        ("until: day 2", "checks: [day 1 10:00 browsin is 1]", 5, "did you mean 'browsing'"),
        ("until: day 2", "checks: [day 3 10:00 browsing is 1]", 5, "after 'until'"),
        ("until: day 2", "checks: [day 1 10:00 browsing above much]", 5, "no number"),
        ("until: day 2", "ontology: nowhere.yaml", 5, "no file"),
        ("until: day 2", "who: {anna: {user: anna}}", 5, "did you mean 'user_id'"),
        ("until: day 2", "who: {anna: {user_id: 'null'}}", 5, "block"),
        ("until: day 2\n  stages: [discovery]", "people: {brwser: {stages: [discovery]}}", 5, "did you mean 'browser'"),
        ("  stages: [discovery]", "", 2, "needs 'stages'"),
    ],
)
def test_what_is_told_wrongly_names_file_line_and_the_nearest_word(
    tmp_path: Path, old: str, new: str, line: int, says: str
) -> None:
    assert old in GOOD
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, GOOD.replace(old, new))
    assert (caught.value.path, caught.value.line) == (str(tmp_path / "mine.yaml"), line)
    assert says in caught.value.message + caught.value.hint


def test_two_scenarios_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="already, at line 2"):
        read(tmp_path, GOOD + GOOD)


def test_a_scenario_may_have_an_ontology_of_its_own(tmp_path: Path) -> None:
    text = (SHIPPED / "journey.yaml").read_text(encoding="utf-8")
    (tmp_path / "other.yaml").write_text(text.replace("after: 180d", "after: 30d"), encoding="utf-8")
    purchase = "  events: [day 1 10:00 purchase]\n  until: day 40\n"
    scenarios = read(
        tmp_path,
        f"- scenario: ours\n{purchase}  stages: [customer]\n"
        f"- scenario: theirs\n  ontology: other.yaml\n{purchase}"
        "  stages: [customer, discovery at day 31 10:00]\n",
    )
    assert [judge(scenario).failures for scenario in scenarios] == [(), ()]
    assert scenarios[0].world.ontology.version != scenarios[1].world.ontology.version
