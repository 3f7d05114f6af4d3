"""Introductions: every identifier of a device and every contact is named beside its owner's login at least once.

For worlds in which all that can be known stands in the events, so that what identity gets wrong is its own fault.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sources.simulator import catalogue
from sources.simulator.avro import Ints
from sources.simulator.catalogue import CODE
from sources.simulator.draft import Draft
from sources.simulator.people import People

_CONTACTS = ("email", "phone", "crm")


def introduced(people: People, draft: Draft, end: int) -> Draft:
    """The events, and where an introduction is missing among them, a login that makes it.

    Nobody here may have forgotten a cookie before the account existed (see ``WorldConfig.every_device_logs_in``).

    Args:
        end: of the segment; no event is added at or after it.
    """
    draft = draft + _logins_of_devices(people, draft, end)
    draft = draft + _logins_of_people(people, draft, end)
    return _with_contacts(draft)


def _logins_of_devices(people: People, draft: Draft, end: int) -> Draft:
    """A login for each identifier of a device that has none, by who used it last, after the account exists."""
    rows = np.flatnonzero(draft.device >= 0)
    codes = people.devices.identifier_codes(draft.device[rows], draft.at[rows])
    rows = rows[~np.isin(codes, codes[draft.login[rows]])]
    codes = people.devices.identifier_codes(draft.device[rows], draft.at[rows])
    order = np.lexsort((draft.at[rows], codes))
    rows, codes = rows[order], codes[order]
    last = rows[np.append(codes[1:] != codes[:-1], True)] if len(rows) else rows
    return _logins(people, draft.person[last], draft.device[last], draft.at[last], end)


def _logins_of_people(people: People, draft: Draft, end: int) -> Draft:
    """A login on their first device for who is known by a contact but never logs in."""
    contacts = draft.email | draft.phone | draft.crm
    person = np.setdiff1d(draft.person[contacts], draft.person[draft.login])
    latest = np.zeros(len(people), dtype=np.int64)
    np.maximum.at(latest, draft.person, draft.at)
    return _logins(people, person, people.first_device[person], latest[person], end)


def _logins(people: People, person: Ints, device: Ints, at: Ints, end: int) -> Draft:
    at = np.minimum(np.maximum(at, people.account_at[person]), end - 1)
    name = np.full(len(person), CODE["login"], dtype=np.int64)
    consent = catalogue.CONSENT_MASK + people.consent_at(person, at)
    return Draft.of(person, at, name, device=device, login=True, consent=consent)


def _with_contacts(draft: Draft) -> Draft:
    """Each person's first login also names the contacts of theirs that no login of theirs names."""
    logins = np.flatnonzero(draft.login)
    order = np.lexsort((draft.at[logins], draft.person[logins]))
    person, first = np.unique(draft.person[logins][order], return_index=True)
    rows = logins[order][first]
    changed = {}
    for contact in _CONTACTS:
        carried = getattr(draft, contact)
        named = np.isin(person, draft.person[carried & draft.login])
        used = np.isin(person, draft.person[carried])
        flags = carried.copy()
        flags[rows[used & ~named]] = True
        changed[contact] = flags
    return replace(draft, **changed)
