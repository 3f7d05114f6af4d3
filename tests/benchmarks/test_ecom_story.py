"""The shop's story against the log itself: users, purchases, sessions and paths counted independently, exactly."""

from __future__ import annotations

import csv
import gzip
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path as File
from xml.etree import ElementTree

import pytest

from benchmarks.ecom.page import block, funnel_picture, stages_picture
from benchmarks.ecom.story import PURCHASE, STEPS, Story, tell
from benchmarks.ecom_story import run_on
from benchmarks.real_data import SHOP_LOG, missing
from pipelines import telemetry
from pipelines.definitions import load_definitions
from transforms.tables.views import open_views

ROOT = File(__file__).resolve().parents[2]
GAP = timedelta(minutes=30)
Visit = list[tuple[datetime, str]]


def needed() -> File:
    if why := missing(SHOP_LOG):
        pytest.skip(why)
    return SHOP_LOG


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    log = needed()
    telemetry.disable()
    out = run_on(log, tmp_path_factory.mktemp("ecom"))
    connection = open_views(out, load_definitions(None).tables)
    try:
        return tell(connection)
    finally:
        connection.close()


@pytest.fixture(scope="module")
def visits() -> list[tuple[str, Visit]]:
    """(user, events of a session), straight from the rows of the log: no code of the pipeline has a part in it."""
    users: dict[str, Visit] = defaultdict(list)
    with gzip.open(needed(), "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            at = datetime.strptime(row["timestamp"], "%Y-%m-%d %H:%M:%S")
            users[row["user_id"]].append((at, row["event"]))
    found: list[tuple[str, Visit]] = []
    for user, events in users.items():
        events.sort()
        visit: Visit = []
        for at, name in events:
            if visit and at - visit[-1][0] >= GAP:
                found.append((user, visit))
                visit = []
            visit.append((at, name))
        found.append((user, visit))
    return found


def steps_of(visit: Visit) -> tuple[str, ...]:
    names = [name for _, name in visit]
    if PURCHASE in names:
        names = names[: names.index(PURCHASE) + 1]
    return tuple(name for name, _ in groupby(names))[:STEPS]


def test_users_purchases_and_sessions_are_those_of_the_log(story: Story, visits: list[tuple[str, Visit]]) -> None:
    events = [(user, name) for user, visit in visits for _, name in visit]
    totals = story.totals
    assert (totals.users, totals.events) == (len({user for user, _ in events}), len(events)) == (600, 31_106)
    assert totals.purchases == sum(name == PURCHASE for _, name in events) == 470
    assert totals.buyers == len({user for user, name in events if name == PURCHASE})
    assert totals.sessions == len(visits)
    assert totals.converting == sum(any(name == PURCHASE for _, name in visit) for _, visit in visits)
    assert totals.events_per_session == pytest.approx(len(events) / len(visits))


def test_every_path_has_the_sessions_users_and_purchases_that_the_log_has(
    story: Story, visits: list[tuple[str, Visit]]
) -> None:
    sessions, converting, purchases = Counter[tuple[str, ...]](), Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
    users: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for user, visit in visits:
        steps, bought = steps_of(visit), sum(name == PURCHASE for _, name in visit)
        sessions[steps] += 1
        purchases[steps] += bought
        converting[steps] += bought > 0
        users[steps].add(user)
    expected = {
        steps: (count, len(users[steps]), converting[steps], purchases[steps]) for steps, count in sessions.items()
    }
    assert {
        path.steps: (path.sessions, path.users, path.converting, path.purchases) for path in story.paths
    } == expected
    ranked = [path.sessions for path in story.paths]
    assert ranked == sorted(ranked, reverse=True)


def test_who_bought_was_a_customer_and_nobody_else(story: Story) -> None:
    customer = story.funnel[-1]
    assert customer.users == customer.bought == story.totals.buyers
    assert story.funnel[0].users == story.totals.users, "everybody begins in the first stage"


def test_on_every_day_each_user_who_has_come_is_in_one_stage(story: Story, visits: list[tuple[str, Visit]]) -> None:
    first: dict[str, datetime] = {}
    for user, visit in visits:
        first[user] = min(visit[0][0], first.get(user, visit[0][0]))
    assert len(story.shares) == (story.totals.last - story.totals.first).days + 1
    for day, users, counts in story.shares:
        assert users == sum(at.date() <= day for at in first.values()) == sum(counts)
        assert min(counts) >= 0


def test_the_page_in_the_repository_is_the_one_that_is_made_now(story: Story) -> None:
    page = (ROOT / "docs" / "ecom.md").read_text(encoding="utf-8")
    assert block(story) in page, "renew it: make ecom-story"


def test_the_pictures_are_whole_and_say_in_words_what_they_show(story: Story) -> None:
    for picture in (stages_picture(story), funnel_picture(story)):
        root = ElementTree.fromstring(picture)
        said = "".join(root.itertext())
        assert all(stage in said for stage in story.stages)
