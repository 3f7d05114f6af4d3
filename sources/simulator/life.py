"""One chunk of people living through a stretch of time: true paths, actions, and events, still without faults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from contracts.event import MINUTE
from sources.simulator import actions as acting
from sources.simulator import catalogue, elsewhere, randomness, sessions
from sources.simulator.actions import Effect, Taken
from sources.simulator.avro import Ints
from sources.simulator.catalogue import CUSTOMER
from sources.simulator.config import Segment, WorldConfig
from sources.simulator.draft import Draft, Properties
from sources.simulator.introductions import introduced
from sources.simulator.paths import Paths, natural_paths
from sources.simulator.people import People, people_of
from sources.simulator.sessions import Moments


@dataclass(frozen=True, slots=True)
class Life:
    """What a chunk lived. ``draft`` holds only events within the segment; paths and effects reach from the start."""

    people: People
    paths: Paths
    actions: Sequence[Taken]
    effects: Sequence[Effect]
    draft: Draft
    properties: Properties


def live(config: WorldConfig, chunk: int, number: int, segment: Segment, responses: Sequence[Taken] = ()) -> Life:
    """Live segment ``number``. ``responses`` are all the actions of runs that this chunk's people ever received."""
    people = people_of(config, chunk)
    actions = [*acting.logged_actions(config, chunk, people, segment.end), *responses]
    played = acting.play(config, people, natural_paths(config, chunk, people, segment.end), actions)
    people = _annoyed(people, played.opt_outs)
    paths = played.paths
    window = (segment.start, segment.end)

    rng = randomness.generator(config.seed, randomness.LIFE, chunk, number)
    properties = Properties()
    mails, clicks = elsewhere.newsletters(config, rng, people, paths, window)
    purchases, cause = _purchases(paths, window)
    order = (people.first + purchases.person) * 100_000_000 + (purchases.at - config.start) // MINUTE
    visits = sessions.plan_visits(config, chunk, rng, people, paths, window, clicks, purchases)
    parts = [
        sessions.visit_events(config, rng, people, paths, visits, catalogue.name_tables(config.noise)),
        sessions.sign_ups(people, visits, window),
        sessions.purchase_events(rng, people, visits, purchases, cause, order, properties),
        mails,
        elsewhere.advertising(rng, people, paths, window),
        elsewhere.calls_and_stores(rng, people, paths, window, properties),
        elsewhere.known_customers(rng, people, properties),
        elsewhere.crm_records(rng, people, paths, window),
        elsewhere.refunds(rng, people, purchases, order),
        elsewhere.opt_outs(people, played.opt_outs),
        elsewhere.erasures(people),
        elsewhere.reactions(rng, people, played.happenings, properties),
        elsewhere.logged(actions, properties),
    ]
    draft = _possible(people, Draft.concatenate(parts), segment)
    if config.every_device_logs_in:
        draft = introduced(people, draft, segment.end)
    return Life(people, paths, actions, played.effects, draft, properties)


def _purchases(paths: Paths, window: tuple[int, int]) -> tuple[Moments, Ints]:
    """Every entry into the customer stage within the window is a purchase; with the action that caused it, or -1."""
    rows = (paths.stage == CUSTOMER) & ~paths.is_first() & (window[0] <= paths.start) & (paths.start < window[1])
    return Moments(paths.person[rows], paths.start[rows]), paths.cause[rows]


def _annoyed(people: People, opt_outs: dict[int, tuple[int, int]]) -> People:
    """People with the opt-outs that actions drove them to."""
    if not opt_outs:
        return people
    at = people.opt_out_at.copy()
    for person, (moment, _) in opt_outs.items():
        at[person] = moment
    return replace(people, opt_out_at=at)


def _possible(people: People, draft: Draft, segment: Segment) -> Draft:
    """Drop what lies outside the segment or before birth, and what erased people no longer do or are known by."""
    erased = draft.at > people.erased_at[draft.person]
    inside = (segment.start <= draft.at) & (draft.at < segment.end) & (draft.at >= people.born[draft.person])
    nameless = erased & (draft.device < 0)
    draft_kept = inside & ~nameless & ~(erased & ~people.returns[draft.person])
    kept = draft.take(draft_kept)
    known = ~erased[draft_kept]
    kept = replace(
        kept,
        login=kept.login & known,
        email=kept.email & known,
        phone=kept.phone & known,
        crm=kept.crm & known,
    )
    has_name = (kept.device >= 0) | kept.login | kept.email | kept.phone | kept.crm
    return kept.take(has_name)


def stages_of(life: Life, until: int) -> tuple[list[str], list[str], Ints, list[int | None], list[str | None]]:
    """Rows of the truth about stages up to a time: person, stage, entered, left (None: it lasts), causing action."""
    paths, names = life.paths, life.people.names()
    rows = np.flatnonzero(paths.start < until)
    left = [None if end > until else end for end in paths.end[rows].tolist()]
    cause = [None if index < 0 else life.actions[index].action_id for index in paths.cause[rows].tolist()]
    return (
        [names[person] for person in paths.person[rows].tolist()],
        [catalogue.STAGES[stage] for stage in paths.stage[rows].tolist()],
        paths.start[rows],
        left,
        cause,
    )
