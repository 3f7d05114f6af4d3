"""Who lives in the world: people, households, devices, cookies, accounts, contacts, consent. No behaviour yet.

Everything here is drawn once for a chunk of people and does not depend on how far the world is played.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contracts.event import DAY, HOUR, MINUTE
from sources.simulator import catalogue, randomness
from sources.simulator.avro import Ints
from sources.simulator.config import WorldConfig

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

NEVER = 2**60
KIOSKS = 5
CLEARINGS = 8
"""A browser forgets its cookie at most this often, plus once at the owner's erasure."""
GENERATIONS = CLEARINGS + 2


@dataclass(frozen=True, slots=True)
class Devices:
    """Devices of one chunk: personal ones, then household ones, then the kiosks that all chunks share."""

    device_class: Ints
    is_app: Bools
    number: Ints
    """Unique in the world."""
    skew: Ints
    """How far the clock is ahead, in microseconds."""
    forgets: Ints
    """[device, n]: ascending times at which the identifier is replaced."""

    def generation(self, device: Ints, at: Ints) -> Ints:
        """How often each device had forgotten its identifier at a time."""
        generation: Ints = (self.forgets[device] <= at[:, None]).sum(axis=1)
        return generation

    def identifier_codes(self, device: Ints, at: Ints) -> Ints:
        """Row in ``identifiers()`` of the identifier each device had at a time."""
        return device * GENERATIONS + self.generation(device, at)

    def identifiers(self, seed: int) -> list[str]:
        """Every identifier a device may ever have: a browser cookie, or the id of an app's installation."""
        generations = (self.number[:, None] * GENERATIONS + np.arange(GENERATIONS)).ravel()
        prefix = np.repeat(np.where(self.is_app, "d", "a"), GENERATIONS).tolist()
        return [f"{p}{value:016x}" for p, value in zip(prefix, randomness.mix(generations, seed).tolist(), strict=True)]


@dataclass(frozen=True, slots=True)
class People:
    """People of one chunk by column; times are UTC microseconds, NEVER for what does not happen."""

    first: int
    born: Ints
    """First moment of the journey."""
    stage: Ints
    """True stage at that moment."""
    activity: Floats
    persona: Ints
    place: Ints
    account_at: Ints
    crm: Bools
    consent: Ints
    """Bit mask over catalogue.PURPOSES, as given with the account."""
    opt_out_at: Ints
    opts_out_of_all: Bools
    opt_out_by: Floats
    """In [0, 1): picks the way of opting out."""
    erased_at: Ints
    returns: Bools
    """Goes on, unknown, after erasure."""
    participant: Bools
    first_device: Ints
    device_count: Ints
    household_device: Ints
    """-1 without a household."""
    first_kiosk: int
    devices: Devices

    def __len__(self) -> int:
        return len(self.born)

    def names(self) -> list[str]:
        """True person ids."""
        return [f"person-{self.first + i:07d}" for i in range(len(self))]

    def user_ids(self) -> list[str]:
        return [f"u-{self.first + i:07d}" for i in range(len(self))]

    def email_hashes(self) -> list[str]:
        """SHA-256 of the normalised address, as e-mail systems exchange it."""
        addresses = (f"customer{self.first + i}@mail.example" for i in range(len(self)))
        return [hashlib.sha256(address.encode("ascii")).hexdigest() for address in addresses]

    def phones(self) -> list[str]:
        return [f"+49151{20_000_000 + self.first + i:08d}" for i in range(len(self))]

    def crm_ids(self) -> list[str]:
        return [f"crm-{700_001 + self.first + i}" for i in range(len(self))]

    def consent_at(self, person: Ints, at: Ints) -> Ints:
        """The consent mask of people at a time."""
        lost = np.where(
            self.opts_out_of_all[person],
            catalogue.EMAIL_BIT | catalogue.ADS_BIT | catalogue.SALES_BIT,
            catalogue.EMAIL_BIT,
        )
        mask = self.consent[person]
        return np.where(at >= self.opt_out_at[person], mask & ~lost, mask)

    def reachable(self, person: Ints, at: Ints) -> Bools:
        """Has an account and has not asked for erasure."""
        reachable: Bools = (self.account_at[person] <= at) & (at <= self.erased_at[person])
        return reachable

    def mails(self, person: Ints, at: Ints) -> Bools:
        """May be sent e-mail, and can be."""
        mails: Bools = self.reachable(person, at) & ((self.consent_at(person, at) & catalogue.EMAIL_BIT) != 0)
        return mails


def people_of(config: WorldConfig, chunk: int) -> People:
    """The people of a chunk."""
    rng = randomness.generator(config.seed, randomness.PEOPLE, chunk)
    first = chunk * config.chunk_size
    n = min(config.chunk_size, config.customers - first)
    span = config.days * DAY

    present = rng.random(n) < 0.35
    born = config.start + np.where(present, 0, rng.random(n) * 0.7 * span).astype(np.int64)
    stage = np.where(
        present, rng.choice(4, n, p=[0.50, 0.27, 0.11, 0.12]), rng.choice(4, n, p=[0.90, 0.08, 0.02, 0.0])
    ).astype(np.int64)
    with_account = rng.random(n) < config.account_share
    signs_up = born + MINUTE + rng.exponential(6 * DAY, n).astype(np.int64)
    has_already = (present & (rng.random(n) < 0.6)) | (stage == catalogue.CUSTOMER)
    account_at = np.where(has_already, config.start - 1, np.where(with_account, signs_up, NEVER))
    if config.every_device_logs_in:
        account_at = np.minimum(account_at, config.end - HOUR)
    granted = rng.random((n, len(catalogue.PURPOSES))) < catalogue.GRANTED
    asks_at = _hazard(rng, n, config.erasure_share, config)
    # Only who has an account can ask to be erased.
    erased_at = np.where(account_at <= asks_at, asks_at, NEVER).astype(np.int64)

    alone = rng.random(n) >= config.shared_share * 0.75
    alone[0] = True
    household = np.cumsum(alone) - 1
    size = np.bincount(household)
    together = np.flatnonzero(size > 1)
    count = rng.choice([1, 2, 3, 4], n, p=[0.45, 0.35, 0.15, 0.05]).astype(np.int64)
    first_device = np.cumsum(count) - count
    personal = int(count.sum())
    household_device = np.full(len(size), -1, dtype=np.int64)
    household_device[together] = personal + np.arange(len(together))
    return People(
        first=first,
        born=born,
        stage=stage,
        activity=rng.lognormal(-0.12, 0.5, n) * config.activity,
        persona=rng.choice(4, n, p=catalogue.PERSONA_SHARE).astype(np.int64),
        place=rng.integers(0, len(catalogue.PLACES), n),
        account_at=account_at.astype(np.int64),
        crm=rng.random(n) < 0.4,
        consent=(granted * (1 << np.arange(len(catalogue.PURPOSES)))).sum(axis=1).astype(np.int64),
        opt_out_at=_hazard(rng, n, config.opt_out_share, config),
        opts_out_of_all=rng.random(n) < 0.4,
        opt_out_by=rng.random(n),
        erased_at=erased_at,
        returns=rng.random(n) < 0.3,
        participant=rng.random(n) < config.logged_share,
        first_device=first_device,
        device_count=count,
        household_device=household_device[household],
        first_kiosk=personal + len(together),
        devices=_devices(rng, config, chunk, count, len(together), erased_at, account_at),
    )


def _hazard(rng: np.random.Generator, n: int, share: float, config: WorldConfig) -> Ints:
    """Times that ``share`` of people meet within the configured days, and others later or never."""
    waits = rng.exponential(1.0, n)
    if share <= 0:
        return np.full(n, NEVER, dtype=np.int64)
    rate = -np.log1p(-min(share, 0.999999)) / (config.days * DAY)
    times: Ints = np.minimum(config.start + waits / rate, NEVER).astype(np.int64)
    return times


def _devices(
    rng: np.random.Generator,
    config: WorldConfig,
    chunk: int,
    count: Ints,
    households: int,
    erased_at: Ints,
    account_at: Ints,
) -> Devices:
    personal = int(count.sum())
    total = personal + households + KIOSKS
    ordinal = np.arange(personal) - np.repeat(np.cumsum(count) - count, count)
    swap = np.repeat(rng.random(len(count)) < 0.5, count)
    desktop, mobile, tablet, kiosk = range(4)
    # First a phone or a computer, second the other, third an app on the phone, fourth a tablet.
    classes = np.select(
        [ordinal == 2, ordinal == 3, (ordinal == 0) ^ swap], [mobile, tablet, mobile], default=desktop
    ).astype(np.int64)
    device_class = np.concatenate([classes, np.full(households, tablet), np.full(KIOSKS, kiosk)])
    is_app = np.zeros(total, dtype=np.bool_)
    is_app[:personal] = ordinal == 2
    clears = rng.random(total) < np.where(is_app, 0.1, 0.4)
    clears[personal + households :] = False
    gaps = rng.exponential(40 * DAY, (total, CLEARINGS))
    times = config.start + np.cumsum(gaps, axis=1)
    forgets = np.full((total, CLEARINGS + 1), NEVER, dtype=np.int64)
    forgets[:, :CLEARINGS] = np.where(clears[:, None], times, NEVER)
    forgets[:personal, CLEARINGS] = np.repeat(erased_at, count)
    if config.every_device_logs_in:
        own = forgets[:personal]
        own[own <= np.repeat(account_at, count)[:, None]] = NEVER
    forgets.sort(axis=1)
    skewed = rng.random(total) < config.skew_share
    skew = np.where(skewed, rng.uniform(-240e6, 240e6, total), 0).astype(np.int64)
    number = np.concatenate([((chunk + 1) << 24) + np.arange(total - KIOSKS), np.arange(KIOSKS)])
    return Devices(device_class, is_app, number.astype(np.int64), skew, forgets)
