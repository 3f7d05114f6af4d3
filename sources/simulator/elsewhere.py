"""What happens to people outside their visits: newsletters, advertising, calls, stores, CRM, consent and erasure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from contracts.event import DAY, HOUR, MINUTE, SECOND
from sources.simulator import catalogue
from sources.simulator.actions import Happening, Taken
from sources.simulator.avro import Ints
from sources.simulator.catalogue import CODE, DECISION
from sources.simulator.config import WorldConfig
from sources.simulator.draft import Draft, Properties
from sources.simulator.paths import Paths
from sources.simulator.people import NEVER, People
from sources.simulator.sessions import Moments, random_moments

_WEEK = 7 * DAY
_LEADS = 1 << 60
"""Orders from here on are leads; negative ones are mailings."""


def order_name(order: int) -> str | None:
    """The correlation id of an order number."""
    if order == 0:
        return None
    if order < 0:
        return f"mailing-{-order}"
    return f"lead-{order - _LEADS}" if order >= _LEADS else f"order-{order}"


def newsletters(
    config: WorldConfig, rng: np.random.Generator, people: People, paths: Paths, window: tuple[int, int]
) -> tuple[Draft, Moments]:
    """The weekly newsletter of who wants it, with its receipts, and the clicks that lead to visits."""
    weeks = np.arange((window[0] - config.start) // _WEEK, (window[1] - config.start) // _WEEK + 1)
    n = len(people) * len(weeks)
    person = np.tile(np.arange(len(people)), len(weeks))
    # Tuesdays at nine, sent out over two hours.
    at = config.start + np.repeat(weeks, len(people)) * _WEEK + DAY + 9 * HOUR
    at = at + (rng.random(n) * 2 * HOUR).astype(np.int64)
    sent = people.mails(person, at) & (people.born[person] <= at)
    u_open, u_click, u_bounce = rng.random((3, n))
    later = (4 * MINUTE + rng.exponential(5 * HOUR, n)).astype(np.int64)
    stage = paths.stage_at(person, at)
    bounced = sent & (u_bounce < 0.01)
    delivered = sent & ~bounced
    opened = delivered & (u_open < catalogue.EMAIL_OPEN[stage])
    clicked = opened & (u_click < catalogue.EMAIL_CLICK[stage] / catalogue.EMAIL_OPEN[stage])
    order = 1 + np.repeat(weeks, len(people))
    parts = [
        Draft.of(
            person[rows], at[rows] + delay[rows], np.full(int(rows.sum()), CODE[name]), email=True, order=-order[rows]
        )
        for rows, delay, name in (
            (bounced, np.full(n, 30 * SECOND), "email_bounced"),
            (delivered, np.full(n, 20 * SECOND), "email_delivered"),
            (opened, later, "email_opened"),
            (clicked, later + 20 * SECOND, "email_clicked"),
        )
    ]
    return Draft.concatenate(parts), Moments(person[clicked], (at + later)[clicked] + 20 * SECOND)


def advertising(rng: np.random.Generator, people: People, paths: Paths, window: tuple[int, int]) -> Draft:
    """Impressions on people's favourite devices, where they allow it."""
    seen = random_moments(rng, people, paths, catalogue.AD_IMPRESSIONS, window)
    allowed = (people.consent_at(seen.person, seen.at) & catalogue.ADS_BIT) != 0
    person, at = seen.person[allowed], seen.at[allowed]
    return Draft.of(
        person, at, np.full(len(person), CODE["ad_impression"]), device=people.first_device[person], network=True
    )


def calls_and_stores(
    rng: np.random.Generator, people: People, paths: Paths, window: tuple[int, int], properties: Properties
) -> Draft:
    """Support and sales calls, visits to stores, renewals."""
    parts: list[Draft] = []
    for name, rates in (
        ("support_call", catalogue.SUPPORT_CALLS),
        ("sales_call", catalogue.SALES_CALLS),
        ("store_visit", catalogue.STORE_VISITS),
        ("renewal", catalogue.RENEWALS),
    ):
        moments = random_moments(rng, people, paths, rates, window)
        person, at = moments.person, moments.at
        known = people.reachable(person, at)
        in_crm = people.crm[person] & known
        values: Ints | int = 0
        if name == "renewal":
            person, at, known, in_crm = person[known], at[known], known[known], in_crm[known]
            amounts = np.round(rng.lognormal(3.2, 0.3, len(at)), 2).tolist()
            values = properties.add([{"value": amount, "currency": "EUR"} for amount in amounts])
        parts.append(
            Draft.of(
                person,
                at,
                np.full(len(person), CODE[name]),
                phone=name != "renewal",
                crm=in_crm if name in ("sales_call", "support_call") else False,
                login=known if name == "renewal" else known & (rng.random(len(at)) < 0.3),
                properties=values,
            )
        )
    return Draft.concatenate(parts)


def known_customers(rng: np.random.Generator, people: People, properties: Properties) -> Draft:
    """Who is a customer when the world begins renews something soon, most of them."""
    who = np.flatnonzero((people.stage == catalogue.CUSTOMER) & (rng.random(len(people)) < 0.75))
    at = people.born[who] + (rng.random(len(who)) * 2 * DAY).astype(np.int64)
    amounts = np.round(rng.lognormal(3.2, 0.3, len(who)), 2).tolist()
    codes = properties.add([{"value": amount, "currency": "EUR"} for amount in amounts])
    return Draft.of(who, at, np.full(len(who), CODE["renewal"]), login=True, email=True, properties=codes)


def crm_records(rng: np.random.Generator, people: People, paths: Paths, window: tuple[int, int]) -> Draft:
    """Sales take people with a CRM record up when they first reach the decision stage, and judge the lead.

    How often they accept depends on the true stage at the time of judging.
    """
    reached = np.flatnonzero(paths.stage == DECISION)
    person, first = np.unique(paths.person[reached], return_index=True)
    at = paths.start[reached[first]]
    n = len(person)
    created = at + (HOUR + rng.exponential(4 * HOUR, n)).astype(np.int64)
    judged = created + (3 * HOUR + rng.exponential(20 * HOUR, n)).astype(np.int64)
    rows = people.crm[person] & people.reachable(person, created)
    accepted = rng.random(n) < catalogue.LEAD_ACCEPTED[paths.stage_at(person, judged)]
    person, created, judged, accepted = person[rows], created[rows], judged[rows], accepted[rows]
    verdict = np.where(accepted, CODE["lead_accepted"], CODE["lead_rejected"])
    order = _LEADS + people.first + person
    return Draft.of(
        person, created, np.full(len(person), CODE["crm_lead_created"]), crm=True, email=True, phone=True, order=order
    ) + Draft.of(person, judged, verdict, crm=True, order=order)


def refunds(rng: np.random.Generator, people: People, purchases: Moments, order: Ints) -> Draft:
    """A few purchases are given back within days."""
    back = rng.random(len(purchases.at)) < 0.04
    person = purchases.person[back]
    at = purchases.at[back] + ((3 + 7 * rng.random(len(person))) * DAY).astype(np.int64)
    known = people.reachable(person, at)
    return Draft.of(person, at, np.full(len(person), CODE["refund"]), login=known, phone=True, order=order[back])


def opt_outs(people: People, by_action: dict[int, tuple[int, int]]) -> Draft:
    """Withdrawals of consent: a click in an e-mail, a complaint, or a statement on the site.

    ``by_action`` names the people whom an action drove to it, with that action's index.
    """
    who = np.arange(len(people))
    at = people.opt_out_at
    action = np.full(len(people), -1, dtype=np.int64)
    for person, (_, index) in by_action.items():
        action[person] = index
    possible = people.reachable(who, at)
    by_mail = (people.opt_out_by < 0.5) | (action >= 0)
    complains = by_mail & (people.opt_out_by < 0.06)
    name = np.select(
        [complains, by_mail], [CODE["email_complained"], CODE["email_unsubscribed"]], CODE["consent_changed"]
    )
    wide = people.opts_out_of_all
    stated = np.where(wide, catalogue.CONSENT_NO_CONTACT, catalogue.CONSENT_NO_EMAIL)
    narrow = np.where(by_mail & ~wide, catalogue.CONSENT_NONE, stated)
    return Draft.of(who, at, name, login=~by_mail, email=True, action=action, consent=narrow).take(possible)


def erasures(people: People) -> Draft:
    """Requests to be forgotten, made under the login."""
    who = np.flatnonzero(people.erased_at < NEVER)
    return Draft.of(who, people.erased_at[who], np.full(len(who), CODE["erasure_requested"]), login=True, email=True)


def reactions(
    rng: np.random.Generator, people: People, happenings: Sequence[Happening], properties: Properties
) -> Draft:
    """What actions brought about outside of visits, as events with their action id."""
    person = np.array([h.person for h in happenings], dtype=np.int64)
    at = np.array([h.at for h in happenings], dtype=np.int64)
    name = np.array([CODE[h.name] for h in happenings], dtype=np.int64)
    values = np.zeros(len(happenings), dtype=np.int64)
    bought = np.flatnonzero(name == CODE["purchase"])
    amounts = np.round(rng.lognormal(4.1, 0.6, len(bought)), 2).tolist()
    values[bought] = properties.add([{"value": amount, "currency": "EUR"} for amount in amounts])
    mail = (catalogue.FIXED_SOURCE[name] == catalogue.SOURCES.index("esp")) | (name == CODE["purchase"])
    leads = np.isin(name, [CODE["lead_accepted"], CODE["lead_rejected"]])
    called = name == CODE["sales_call"]
    on_device = np.isin(name, [CODE["ad_impression"], CODE["ad_click"], CODE["app_open"]])
    known = people.reachable(person, at) if len(person) else np.zeros(0, dtype=np.bool_)
    return Draft.of(
        person,
        at,
        name,
        action=np.array([h.action for h in happenings], dtype=np.int64),
        device=np.where(on_device, people.first_device[person], -1) if len(person) else -1,
        login=known & ((name == CODE["purchase"]) | (name == CODE["app_open"])),
        email=mail & known,
        crm=leads & people.crm[person] if len(person) else False,
        phone=called | (leads & ~people.crm[person]) if len(person) else False,
        properties=values,
    )


def logged(actions: Sequence[Taken], properties: Properties) -> Draft:
    """The record of each randomised action: arm, channel and propensity, under the login."""
    indices = [index for index, action in enumerate(actions) if action.logged]
    rows = [actions[index] for index in indices]
    codes = properties.add([{"arm": a.arm, "channel": a.channel, "propensity": a.propensity} for a in rows])
    return Draft.of(
        np.array([a.person for a in rows], dtype=np.int64),
        np.array([a.at for a in rows], dtype=np.int64),
        np.full(len(rows), CODE["action_logged"]),
        action=np.array(indices, dtype=np.int64),
        login=True,
        properties=codes,
    )
