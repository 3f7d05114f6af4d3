"""What actions do to people: the logged randomised experiment, and the actions that a run of the pipeline took.

An action's effects are a pure function of the seed, its id, and the person's truth at that time, so they come out the
same however often and in whatever company they are played.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from contracts.event import DAY, HOUR, MINUTE, SECOND
from sources.simulator import catalogue, randomness
from sources.simulator.catalogue import ARMS, CONSIDERATION, CUSTOMER, DECISION, DISCOVERY
from sources.simulator.config import WorldConfig
from sources.simulator.paths import Paths, Stay, stays_of, with_stays
from sources.simulator.people import People

EFFECT_WINDOW = 7 * DAY
_CUSTOMER_FOR = 60 * DAY


@dataclass(frozen=True, slots=True)
class Taken:
    """An action that reached one person. ``person`` is the row in the chunk; ``at`` microseconds."""

    action_id: str
    person: int
    at: int
    arm: str
    channel: str
    propensity: float
    logged: bool


@dataclass(frozen=True, slots=True)
class Effect:
    """Truth about one action: what it changed, and what would have been without it."""

    action_id: str
    person: int
    at: int
    arm: str
    channel: str
    propensity: float
    logged: bool
    stage: int
    uplift: float
    converted_without: bool
    converted_with: bool
    converted_at: int | None


@dataclass(frozen=True, slots=True)
class Happening:
    """One event that an action brought about. ``action`` is its index among the actions played."""

    person: int
    at: int
    name: str
    action: int


@dataclass(slots=True)
class Played:
    """What came of a list of actions. ``opt_outs``: person to (time, index of the action that was one too many)."""

    paths: Paths
    effects: list[Effect] = field(default_factory=list)
    happenings: list[Happening] = field(default_factory=list)
    opt_outs: dict[int, tuple[int, int]] = field(default_factory=dict)


def logged_actions(config: WorldConfig, chunk: int, people: People, until: int) -> list[Taken]:
    """The randomised experiment up to ``until``: participants are given an arm by chance, about every nine days."""
    rng = randomness.generator(config.seed, randomness.LOGGED, chunk)
    who = np.flatnonzero(people.participant & (people.account_at <= until))
    if not len(who):
        return []
    at = np.maximum(people.born[who], people.account_at[who])
    cumulative = np.cumsum([share for _, _, share in ARMS])
    taken: list[Taken] = []
    turn = 0
    # Draws are of full length whoever still takes part, so that playing on changes no earlier draw.
    every = len(people)
    while (at < until).any():
        gap = rng.exponential(9 * DAY, every)[who] + HOUR
        arm = np.minimum(np.searchsorted(cumulative, rng.random(every)[who], side="right"), len(ARMS) - 1)
        at = at + gap.astype(np.int64)
        open_to_it = (at < until) & people.mails(who, at)
        for row in np.flatnonzero(open_to_it).tolist():
            name, channel, share = ARMS[int(arm[row])]
            person = int(who[row])
            action_id = f"exp-{people.first + person:07d}-{turn}"
            taken.append(Taken(action_id, person, int(at[row]), name, channel, share, True))
        turn += 1
    return taken


def play(config: WorldConfig, people: People, paths: Paths, actions: Sequence[Taken]) -> Played:
    """Let actions happen to people, each person's in time order. Indices in the answer are those of ``actions``."""
    played = Played(paths)
    changed: dict[int, list[Stay]] = {}
    for index in sorted(range(len(actions)), key=lambda i: (actions[i].person, actions[i].at, actions[i].action_id)):
        action = actions[index]
        stays = changed.get(action.person)
        if stays is None:
            stays = changed[action.person] = stays_of(paths, action.person)
        _effect(config, people, stays, action, index, played)
        _reactions(config, people, stays, action, index, played)
    played.paths = with_stays(paths, changed)
    return played


def _stage_at(stays: list[Stay], at: int) -> int:
    row = bisect.bisect_right(stays, at, key=_start_of) - 1
    return stays[max(row, 0)].stage


def _start_of(stay: Stay) -> int:
    return stay.start


def _effect(config: WorldConfig, people: People, stays: list[Stay], action: Taken, index: int, played: Played) -> None:
    """Decide whether the action changed what the person does within a week, and change the stays if so."""
    stage = _stage_at(stays, action.at)
    change = catalogue.uplift(action.arm, action.channel, stage, int(people.persona[action.person]))
    natural = next((s for s in stays if s.stage == CUSTOMER and action.at < s.start <= action.at + EFFECT_WINDOW), None)
    u = randomness.unit(config.seed, action.action_id, "effect")
    converted_at = natural.start if natural is not None else None
    if natural is None and u < change:
        delay = int(HOUR + randomness.unit(config.seed, action.action_id, "delay") * 5 * DAY)
        converted_at = action.at + delay
        if not _convert(stays, converted_at, index):
            played.happenings.append(Happening(action.person, converted_at, "purchase", index))
    elif natural is not None and u < -change:
        _put_off(stays, natural)
        converted_at = None
    played.effects.append(
        Effect(
            action.action_id,
            action.person,
            action.at,
            action.arm,
            action.channel,
            action.propensity,
            action.logged,
            stage,
            change,
            natural is not None,
            converted_at is not None,
            converted_at,
        )
    )


def _convert(stays: list[Stay], at: int, index: int) -> bool:
    """Make a customer at a time; False for who already is one (and then only buys again)."""
    if _stage_at(stays, at) == CUSTOMER or at < stays[0].start:
        return False
    until = at + _CUSTOMER_FOR
    after = _stage_at(stays, until)
    later = [stay for stay in stays if stay.start > until]
    stays[:] = [stay for stay in stays if stay.start <= at]
    stays += [Stay(at, CUSTOMER, index)]
    stays += [Stay(until, after if after != CUSTOMER else DECISION), *later]
    return True


def _put_off(stays: list[Stay], purchase: Stay) -> None:
    """Turn a purchase that would have come into hesitation, and then loss of interest."""
    row = stays.index(purchase)
    until = stays[row + 1].start if row + 1 < len(stays) else 2**61
    purchase.stage = DECISION
    fading = [Stay(purchase.start + 4 * DAY, CONSIDERATION), Stay(purchase.start + 11 * DAY, DISCOVERY)]
    stays[row + 1 : row + 1] = [stay for stay in fading if stay.start < until]


def _reactions(
    config: WorldConfig, people: People, stays: list[Stay], action: Taken, index: int, played: Played
) -> None:
    """The receipts of an action: delivered, opened, clicked, called, accepted, complained."""

    def draw(what: str) -> float:
        return randomness.unit(config.seed, action.action_id, what)

    def happen(at: float, name: str) -> int:
        played.happenings.append(Happening(action.person, int(at), name, index))
        return int(at)

    person, stage = action.person, _stage_at(stays, action.at)
    kind = catalogue.action_kind(action.channel)
    if kind == "email":
        if draw("deliver") >= 0.97:
            happen(action.at + 30 * SECOND, "email_bounced")
            return
        delivered = happen(action.at + 20 * SECOND + draw("transport") * 2 * MINUTE, "email_delivered")
        if draw("open") >= min(1.0, 1.4 * catalogue.EMAIL_OPEN[stage]):
            return
        opened = happen(delivered + 4 * MINUTE + draw("read") * 18 * HOUR, "email_opened")
        if draw("click") < 0.4:
            happen(opened + 5 * SECOND + draw("think") * 2 * MINUTE, "email_clicked")
        elif draw("annoy") < (0.06 if people.persona[person] == 3 else 0.008) and opened < people.opt_out_at[person]:
            earlier = played.opt_outs.get(person)
            if earlier is None or opened < earlier[0]:
                played.opt_outs[person] = (opened + MINUTE, index)
    elif kind == "call":
        called = happen(action.at + 10 * MINUTE + draw("call") * 6 * HOUR, "sales_call")
        accepted = draw("accept") < catalogue.LEAD_ACCEPTED[_stage_at(stays, called)]
        happen(called + HOUR + draw("judge") * 40 * HOUR, "lead_accepted" if accepted else "lead_rejected")
    elif kind == "ads":
        shown = happen(action.at + HOUR + draw("show") * 20 * HOUR, "ad_impression")
        if draw("click") < 0.08:
            happen(shown + 5 * SECOND, "ad_click")
    elif kind == "app" and draw("tap") < 0.12:
        happen(action.at + MINUTE + draw("when") * 5 * HOUR, "app_open")
