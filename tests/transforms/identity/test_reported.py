"""A worker reports a link once, and again when what it knows more of it may matter."""

from __future__ import annotations

from time import process_time
from typing import Any

import identity_world as world
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_world import Seen, ident, links_of

from contracts.event import DAY
from contracts.exchange import Link
from transforms.identity.reported import ReportedLinks
from transforms.identity.resolve import resolve
from transforms.identity.rules import IdentityRules


def told(reported: ReportedLinks, rules: IdentityRules, *events: Seen) -> list[Link]:
    """Report what is news, as a worker does."""
    news = reported.unreported(links_of(events, rules))
    reported.confirm(news)
    return news


def test_a_pair_is_reported_once() -> None:
    rules = world.rules(owner="first_known")
    reported = ReportedLinks(rules)
    assert len(told(reported, rules, Seen(1, "cookie:a user:1"), Seen(2, "cookie:a user:1"))) == 1
    assert told(reported, rules, Seen(1, "cookie:a user:1"), Seen(7, "cookie:a user:1")) == []


def test_nothing_is_known_before_the_store_has_it() -> None:
    rules = world.rules()
    reported = ReportedLinks(rules)
    links = links_of([Seen(1, "cookie:a user:1")], rules)
    assert reported.unreported(links) == reported.unreported(links) == links


def test_an_earlier_event_is_news() -> None:
    rules = world.rules(owner="first_known")
    reported = ReportedLinks(rules)
    told(reported, rules, Seen(5, "cookie:a user:1"))
    assert [link.first_time for link in told(reported, rules, Seen(3, "cookie:a user:1"))] == [3]
    assert told(reported, rules, Seen(4, "cookie:a user:1")) == []


@pytest.mark.parametrize(
    ("owner", "news"), [("last_known", 1), ("carry_forward", 1), ("first_known", 0), ("keep_apart", 0)]
)
def test_a_later_event_is_news_where_the_policy_asks_who_was_last(owner: str, news: int) -> None:
    rules = world.rules(owner=owner)
    reported = ReportedLinks(rules)
    told(reported, rules, Seen(1, "cookie:a user:1 email:p"))
    later = told(reported, rules, Seen(2, "cookie:a user:1 email:p"))
    # that two logins are one person does not depend on when they were seen together last
    assert [link.right for link in later] == [ident("cookie:a")] * news


@pytest.mark.parametrize("word", ["merge", "unlink"])
def test_the_newest_word_of_a_person_is_news(word: str) -> None:
    rules = world.rules(owner="first_known")
    reported = ReportedLinks(rules)
    told(reported, rules, Seen(1, "user:1 email:p", name=word))
    assert len(told(reported, rules, Seen(2, "user:1 email:p", name=word))) == 1


def test_who_goes_on_being_seen_is_reported_again_after_a_while() -> None:
    rules = world.rules(owner="first_known")
    reported = ReportedLinks(rules, refresh=DAY)
    told(reported, rules, Seen(0, "cookie:a user:1"))
    assert told(reported, rules, Seen(DAY - 1, "cookie:a user:1")) == []
    assert len(told(reported, rules, Seen(DAY, "cookie:a user:1"))) == 1
    assert told(reported, rules, Seen(DAY + 1, "cookie:a user:1")) == []


def test_a_request_for_erasure_is_news_and_what_it_erased_can_be_forgotten() -> None:
    rules = world.rules(owner="first_known")
    reported = ReportedLinks(rules)
    told(reported, rules, Seen(1, "cookie:a user:1"), Seen(1, "cookie:b user:2"))
    assert len(told(reported, rules, Seen(5, "cookie:a user:1", name="erase"))) == 1
    assert told(reported, rules, Seen(5, "cookie:a user:1", name="erase")) == []
    reported.forget([ident("user:1")])
    assert len(told(reported, rules, Seen(6, "cookie:a user:1"))) == 1
    assert told(reported, rules, Seen(2, "cookie:b user:2")) == []


def test_no_more_pairs_are_remembered_than_the_limit() -> None:
    rules = world.rules()
    reported = ReportedLinks(rules, limit=10)
    told(reported, rules, *(Seen(n, f"cookie:{n} user:1") for n in range(50)))
    assert len(reported) == 10
    assert told(reported, rules, Seen(49, "cookie:49 user:1")) == []
    assert len(told(reported, rules, Seen(1, "cookie:1 user:1"))) == 1


def test_to_forget_a_pair_costs_the_same_however_many_were_forgotten() -> None:
    limit, some = 100_000, 1_000
    reported = ReportedLinks(world.rules(), limit=limit)
    costs = []
    for begin in range(0, limit + 60_000, some):
        links = [Link(ident(f"cookie:{n}"), None, n, "e", n, "e", n) for n in range(begin, begin + some)]
        before = process_time()
        reported.confirm(links)
        costs.append(process_time() - before)
    forgetting = costs[limit // some :]
    assert len(reported) == limit
    assert min(forgetting[-10:]) < 5 * min(forgetting[:10])


@settings(max_examples=200, deadline=None)
@given(world.worlds(erasing=False), world.any_rules, st.integers(1, 20))
def test_what_is_reported_resolves_like_everything(events: list[Seen], rules: IdentityRules, limit: int) -> None:
    """Whatever is left unreported changes nobody's person, nor any verdict."""
    reported, sent = ReportedLinks(rules, limit), list[Link]()
    for event in events:
        sent += told(reported, rules, event)

    def said(links: list[Link]) -> dict[str, Any]:
        resolution = resolve(links, rules)
        return {
            "assignments": {(a.primary, a.login): (a.steps, a.carry) for a in resolution.assignments()},
            "edges": {(e.left, e.right, e.kind): (e.status, e.rule, e.conflict) for e in resolution.edges()},
        }

    assert said(sent) == said(links_of(events, rules))


def test_each_request_for_erasure_is_news_also_an_earlier_one() -> None:
    rules = world.rules()
    book = ReportedLinks(rules)
    for time in (9, 5):
        request = world.links_of([Seen(time, "user:1", name="erase")], rules)
        assert book.unreported(request) == request
        book.confirm(request)
        assert book.unreported(request) == []
