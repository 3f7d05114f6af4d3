"""What strangers sent cannot command the terminal, and numbers are written as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console, RenderableType

from contracts.exchange import LINK_KINDS
from pipelines.definitions import Definitions
from reports.explain import PersonStory
from reports.identity_words import conflict_words, rule_words, status_words
from reports.rendering import clean, length, plain, text
from reports.tell_person import tell_person
from transforms.identity.demotion import CROWDED, DEMOTED
from transforms.identity.owners import ONLY_PERSON, OWNER
from transforms.identity.partition import GROUPED, MERGED, UNITED, UNLINKED
from transforms.identity.resolve import STATUSES
from transforms.identity.rules import OWNER_POLICIES
from transforms.identity.union import BARRED, COMPONENT_SIZE

AT = datetime(2025, 1, 6, 12, tzinfo=UTC)


def shown(*items: RenderableType) -> str:
    console = Console(file=StringIO(), width=100, force_terminal=True)
    for item in items:
        console.print(item)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("hostile", ["\x1b[2J", "\x9b31m", "a\rb", "line\nbreak", "\u202eabc", "\x07"])
def test_control_characters_never_reach_the_terminal(hostile: str) -> None:
    assert clean(hostile).isprintable()
    assert hostile not in shown(text(hostile))


def test_markup_is_shown_not_obeyed() -> None:
    assert "[red]x[/red]" in shown(text("[red]x[/red]"))


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (0.25, "250 ms"), (59, "59 s"), (90, "1.5 min"), (7_200, "2 h"), (172_800, "2 d")]
)
def test_a_length_has_one_unit(seconds: float, said: str) -> None:
    assert length(timedelta(seconds=seconds)) == said


@pytest.mark.parametrize(("value", "said"), [(True, "yes"), (0.0, "0"), (0.12345, "0.123"), ("", "none"), (3, "3")])
def test_values_are_written_plainly(value: object, said: str) -> None:
    assert plain(value) == said


def test_a_refused_limit_says_of_what() -> None:
    assert rule_words("limit:user_id").endswith("user_id")
    assert rule_words("a rule to come") == "a rule to come"


def test_scores_are_told_with_the_model_that_gave_them(definitions: Definitions) -> None:
    scores = tuple(
        {"person_id": "p_1", "at": AT + timedelta(days=n), "model_version": "m-7", "p_discovery": 0.25, "p_customer": p}
        for n, p in enumerate((0.75, None))
    )
    nobody: tuple[()] = ()
    story = PersonStory(
        "p_1", "", {}, None, nobody, nobody, nobody, nobody, nobody, nobody, scores, nobody, nobody, nobody
    )
    told = shown(*tell_person(story, definitions.ontology, 1))
    assert "m-7" in told
    assert "2025-01-07" in told
    assert "the newest 1 of 2 scored points" in told
    assert "no journey" in told


@pytest.mark.parametrize("kind", LINK_KINDS)
@pytest.mark.parametrize(
    "rule",
    [UNITED, GROUPED, MERGED, UNLINKED, ONLY_PERSON, OWNER, *OWNER_POLICIES, BARRED, COMPONENT_SIZE, DEMOTED, CROWDED],
)
def test_every_rule_of_resolution_is_told_in_words(rule: str, kind: str) -> None:
    said = rule_words(rule, kind)
    assert said != rule
    assert len(said.split()) >= 4
    assert "_" not in said


def test_what_stood_against_an_edge_is_named_with_a_short_pseudonym() -> None:
    assert conflict_words("user_id:" + "ab" * 16) == " (against it: user_id abababab)"
    assert conflict_words(None) == ""
    assert "\x1b" not in conflict_words("user_id:\x1b[2J")


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_has_a_word_of_its_own(status: str) -> None:
    words = [status_words(each).plain for each in STATUSES]
    assert len(set(words)) == len(STATUSES)
    assert status_words(status).style
