"""What people do on sites and in apps: visits of three and more events, shaped by the true stage at each moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contracts.event import DAY, HOUR, MINUTE, SECOND
from sources.simulator import catalogue
from sources.simulator.avro import Ints
from sources.simulator.catalogue import CODE, CUSTOMER
from sources.simulator.config import WorldConfig
from sources.simulator.draft import Draft, Properties
from sources.simulator.paths import Paths
from sources.simulator.people import KIOSKS, NEVER, People
from sources.simulator.sharing import borrowed

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_NO_LOGIN = 99


@dataclass(frozen=True, slots=True)
class Visits:
    """Planned visits by column. ``login_at`` is the position of the event from which the person is logged in."""

    person: Ints
    start: Ints
    device: Ints
    traffic: Ints
    login_at: Ints

    def __len__(self) -> int:
        return len(self.person)


@dataclass(frozen=True, slots=True)
class Moments:
    """Moments of people that call for a visit around them: purchases, sign-ups, clicks in e-mails."""

    person: Ints
    at: Ints


def random_moments(
    rng: np.random.Generator, people: People, paths: Paths, rates: Floats, window: tuple[int, int]
) -> Moments:
    """Moments at a rate a day that depends on the true stage, following each person's day and night."""
    start = np.maximum(paths.start, window[0])
    end = np.minimum(paths.end, window[1])
    length = np.maximum(end - start, 0)
    peak = 1.0 / catalogue.HOURS.mean()
    expected = rates[paths.stage] * people.activity[paths.person] * (length / DAY) * peak
    rows = np.repeat(np.arange(len(length)), rng.poisson(expected))
    at = start[rows] + (rng.random(len(rows)) * length[rows]).astype(np.int64)
    person = paths.person[rows]
    shift = np.array([place[3] for place in catalogue.PLACES])[people.place[person]]
    hour = (at // HOUR + shift) % 24
    kept = rng.random(len(rows)) < catalogue.HOURS[hour]
    return Moments(person[kept], at[kept])


def choose_devices(rng: np.random.Generator, people: People, person: Ints, kiosk_share: float) -> Ints:
    """A device for each visit: mostly one's favourite, sometimes the household's, rarely a kiosk."""
    own = people.first_device[person] + (people.device_count[person] * rng.random(len(person)) ** 1.7).astype(np.int64)
    household = people.household_device[person]
    shared = (household >= 0) & (rng.random(len(person)) < 0.35)
    kiosk = rng.random(len(person)) < kiosk_share
    return np.where(kiosk, people.first_kiosk + person % KIOSKS, np.where(shared, household, own))


def plan_visits(
    config: WorldConfig,
    chunk: int,
    rng: np.random.Generator,
    people: People,
    paths: Paths,
    window: tuple[int, int],
    clicks: Moments,
    purchases: Moments,
) -> Visits:
    """All visits that touch the window.

    Besides visits at random there is one around most changes of stage (so that stages move within a session), one
    around every sign-up and purchase, and one after every click in an e-mail.
    """
    ordinary = random_moments(rng, people, paths, catalogue.SESSION_RATE, window)
    moves = ~paths.is_first() & (window[0] <= paths.start) & (paths.start < window[1]) & (paths.stage != CUSTOMER)
    moves &= rng.random(len(moves)) < 0.6
    signs_up = np.flatnonzero((window[0] <= people.account_at) & (people.account_at < window[1]))
    person = np.concatenate([ordinary.person, paths.person[moves], signs_up, clicks.person, purchases.person])
    start = np.concatenate(
        [
            ordinary.at,
            paths.start[moves] - (rng.uniform(1, 10, int(moves.sum())) * MINUTE).astype(np.int64),
            people.account_at[signs_up] - (rng.uniform(0.5, 3, len(signs_up)) * MINUTE).astype(np.int64),
            clicks.at + 5 * SECOND,
            purchases.at - (rng.uniform(5, 14, len(purchases.at)) * MINUTE).astype(np.int64),
        ]
    )
    stage = paths.stage_at(person, start)
    device = choose_devices(rng, people, person, config.kiosk_share)
    has_account = people.reachable(person, start)
    device = borrowed(config, chunk, people, person, has_account, device)
    app = people.devices.is_app[device]
    usual = np.where(app, 0.9, catalogue.LOGIN[stage])
    logs_in = has_account & (rng.random(len(person)) < (usual if config.login_share is None else config.login_share))
    u = rng.random(len(person))
    ad = u < catalogue.AD_ENTRY[stage]
    ads = catalogue.TRAFFIC_ADS + rng.integers(0, catalogue.ADS_VARIANTS, len(person))
    search = rng.random(len(person)) < 0.25
    traffic = np.select([ad, search], [ads, catalogue.TRAFFIC_SEARCH], catalogue.TRAFFIC_NONE)
    first_click = len(person) - len(purchases.at) - len(clicks.at)
    traffic[first_click : first_click + len(clicks.at)] = catalogue.TRAFFIC_EMAIL
    return Visits(
        person,
        start,
        device,
        np.where(app, catalogue.TRAFFIC_NONE, traffic),
        np.where(logs_in, rng.integers(0, 3, len(person)), _NO_LOGIN),
    )


def visit_events(
    config: WorldConfig, rng: np.random.Generator, people: People, paths: Paths, visits: Visits, names: Floats
) -> Draft:
    """The events of visits; ``session`` numbers the visits."""
    n_visits = len(visits)
    stage = paths.stage_at(visits.person, visits.start)
    length = 3 + rng.binomial(9, catalogue.SESSION_LENGTH[stage])
    session = np.repeat(np.arange(n_visits), length)
    first = np.cumsum(length) - length
    n = len(session)
    position = np.arange(n) - first[session]
    gap = (2 * SECOND + np.minimum(rng.exponential(50 * SECOND, n), 14 * MINUTE)).astype(np.int64)
    gap[first] = 0
    elapsed = np.cumsum(gap)
    at = visits.start[session] + elapsed - elapsed[first][session]
    person, device = visits.person[session], visits.device[session]

    name = draw_names(config, rng, paths, person, at, names)
    app = people.devices.is_app[device]
    opening = position == 0
    u = rng.random(n)
    name[opening & ~app & (u < 0.4)] = CODE["home_view"]
    name[opening & app & (u < 0.75)] = CODE["app_open"]
    ad = opening & (visits.traffic[session] >= catalogue.TRAFFIC_ADS)
    ad &= visits.traffic[session] < catalogue.TRAFFIC_ADS + catalogue.ADS_VARIANTS
    name[ad] = CODE["ad_click"]
    login_at = visits.login_at[session]
    name[position == login_at] = CODE["login"]
    login = position >= login_at
    name[login & (position == length[session] - 1) & (rng.random(n) < 0.08)] = CODE["logout"]

    stated = _stated_consent(rng, people, person, at, name, opening & ~app)
    asks = np.isin(name, [CODE["form_submit"], CODE["demo_request"], CODE["quote_request"]])
    knows = asks & (people.account_at[person] < NEVER) & (at <= people.erased_at[person])
    return Draft.of(
        person,
        at,
        name,
        session=session,
        device=device,
        context=catalogue.context_codes(name, rng.random(n), np.where(opening, visits.traffic[session], 0)),
        consent=stated,
        login=login,
        email=knows | (login & (name == CODE["login"]) & (rng.random(n) < 0.3)),
        phone=knows & (name == CODE["quote_request"]),
        network=~app & (rng.random(n) < 0.3),
    )


def draw_names(
    config: WorldConfig, rng: np.random.Generator, paths: Paths, person: Ints, at: Ints, names: Floats
) -> Ints:
    """A name for each event from the mix of its person's true stage, before or after the drift."""
    stage = paths.stage_at(person, at)
    drifted = np.zeros(len(at), dtype=np.int64) if config.drift_at is None else (at >= config.drift_at).astype(np.int64)
    u = rng.random(len(at))
    name = np.zeros(len(at), dtype=np.int64)
    for regime in range(2):
        for number in range(len(catalogue.STAGES)):
            rows = (stage == number) & (drifted == regime)
            name[rows] = np.searchsorted(names[regime, number], u[rows] * names[regime, number, -1], side="right")
    return name


def _stated_consent(
    rng: np.random.Generator, people: People, person: Ints, at: Ints, name: Ints, banner: Bools
) -> Ints:
    """Consent as events state it: all of it at a login, the banner's part at the start of some visits."""
    mask = people.consent_at(person, at)
    shown = banner & (rng.random(len(at)) < 0.3)
    ads = ((mask & catalogue.ADS_BIT) != 0).astype(np.int64)
    stated = np.where(shown, catalogue.CONSENT_BANNER + ads, catalogue.CONSENT_NONE)
    return np.where(name == CODE["login"], catalogue.CONSENT_MASK + mask, stated)


def sign_ups(people: People, visits: Visits, window: tuple[int, int]) -> Draft:
    """The sign-up itself, in the visit that was planned around it: contact and consent are stated here."""
    person = np.flatnonzero((window[0] <= people.account_at) & (people.account_at < window[1]))
    at = people.account_at[person]
    session = _visit_around(visits, person, at)
    return Draft.of(
        person,
        at,
        np.full(len(person), CODE["signup"]),
        session=session,
        device=visits.device[session],
        context=catalogue.context_codes(np.full(len(person), CODE["signup"]), np.zeros(len(person)), np.zeros(1, int)),
        consent=catalogue.CONSENT_MASK + people.consent_at(person, at),
        login=True,
        email=True,
    )


def _visit_around(visits: Visits, person: Ints, at: Ints) -> Ints:
    """For each moment the latest visit of its person that began before."""
    order = np.lexsort((visits.start, visits.person))
    low = int(visits.start.min(initial=0))
    keys = visits.person[order] * (1 << 49) + (visits.start[order] - low)
    found = np.searchsorted(keys, person * (1 << 49) + (at - low), side="right") - 1
    visit: Ints = order[found]
    return visit


def purchase_events(
    rng: np.random.Generator,
    people: People,
    visits: Visits,
    purchases: Moments,
    cause: Ints,
    order: Ints,
    properties: Properties,
) -> Draft:
    """Purchases with the steps before them. One in eight is made in a store, where no device is known."""
    n = len(purchases.at)
    if not n:
        return Draft.of(np.zeros(0, int), np.zeros(0, int), np.zeros(0, int))
    in_store = rng.random(n) < 0.12
    guest_mail = rng.random(n) < 0.7
    values = np.round(rng.lognormal(4.1, 0.6, n), 2).tolist()
    items = rng.integers(1, 5, n).tolist()
    codes = properties.add([{"value": v, "currency": "EUR", "items": i} for v, i in zip(values, items, strict=True)])
    session = _visit_around(visits, purchases.person, purchases.at)
    known = people.reachable(purchases.person, purchases.at)
    reachable = purchases.at <= people.erased_at[purchases.person]
    parts: list[Draft] = []
    steps = (("add_to_cart", 4), ("cart_view", 3), ("checkout_start", 2), ("payment_start", 1), ("purchase", 0))
    for name, minutes in steps:
        rows = np.flatnonzero(~in_store)
        name_codes = np.full(len(rows), CODE[name])
        final = name == "purchase"
        parts.append(
            Draft.of(
                purchases.person[rows],
                purchases.at[rows] - minutes * MINUTE,
                name_codes,
                session=session[rows],
                device=visits.device[session[rows]],
                context=catalogue.context_codes(name_codes, rng.random(len(rows)), np.zeros(1, int)),
                order=order[rows] if minutes <= 2 else 0,
                login=known[rows],
                email=(guest_mail & reachable)[rows] if final else False,
                action=cause[rows] if final else -1,
                properties=codes[rows] if final else 0,
            )
        )
    rows = np.flatnonzero(in_store)
    for name, minutes in (("store_visit", 15), ("store_purchase", 0)):
        final = name == "store_purchase"
        parts.append(
            Draft.of(
                purchases.person[rows],
                purchases.at[rows] - minutes * MINUTE,
                np.full(len(rows), CODE[name]),
                order=order[rows] if final else 0,
                login=known[rows] & final,
                phone=True,
                action=cause[rows] if final else -1,
                properties=codes[rows] if final else 0,
            )
        )
    return Draft.concatenate(parts)
