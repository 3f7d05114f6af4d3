"""What a simulated world is made of, as one validated value that is stored beside what it produced."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from contracts.errors import InputError, UsageError
from contracts.event import DAY

WORLD_FILE = "world.json"
FORMAT = 1

DEFAULT_START = 1_736_121_600_000_000
"""2025-01-06T00:00:00Z, a Monday. A constant, never the clock: the same command gives the same bytes every day."""

_SHARES = (
    "late_share",
    "expired_share",
    "offline_share",
    "duplicate_share",
    "conflict_share",
    "malformed_share",
    "skew_share",
    "dirty_share",
    "shared_share",
    "kiosk_share",
    "opt_out_share",
    "erasure_share",
    "logged_share",
    "account_share",
    "noise",
)
_OPTIONAL_SHARES = ("login_share", "device_sharing")

_LEFT_OUT = frozenset(("account_share", "login_share", "device_sharing", "every_device_logs_in"))
"""Came after the others: worlds that do without them keep their bytes."""

_CLEAN: Mapping[str, Any] = {
    "every_device_logs_in": True,
    "account_share": 1.0,
    "login_share": 1.0,
    "shared_share": 0.0,
    "kiosk_share": 0.0,
    "erasure_share": 0.0,
    "expired_share": 0.0,
}
WORLDS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "clean": _CLEAN,
    "shared": {**_CLEAN, "device_sharing": 0.05},
    "quiet": {**_CLEAN, "device_sharing": 0.05, "login_share": None},
}
"""Settings of the named worlds, for measuring identity. ``clean``: whatever can be known about who did what stands in
the events, and no device is shared. ``shared``: the same, but one device in twenty is used by two people. ``quiet``: as
``shared``, but people log in only as often as their stage makes them, as in the default world. All other dirt is as in
the default world, save what takes events away (erasure, expiry), since it could take away the one login.
"""


@dataclass(frozen=True, slots=True)
class WorldConfig:
    """Parameters of a world. Shares are fractions from 0 to 1; times are UTC microseconds.

    Of events: ``late_share`` arrive 6 to 40 h late, ``expired_share`` 3 to 9 days late, ``offline_share`` minutes to
    hours late and so out of order; ``duplicate_share`` come twice, ``conflict_share`` twice with different content;
    ``malformed_share`` is added as records that must be rejected; ``dirty_share`` carry a login such as ``null``.
    Of devices: ``skew_share`` have a wrong clock. Of people: ``shared_share`` live in a household with a common device,
    ``opt_out_share`` and ``erasure_share`` ask for it within ``days``, ``logged_share`` take part in the randomised
    experiment, ``account_share`` sign up sooner or later, unless they have an account already. Of sessions:
    ``kiosk_share`` happen at a kiosk of a store; ``login_share`` of those by people with an account log in (None: as
    often as their stage makes them). ``noise`` is how much of each stage's behaviour is the average of all stages. From
    ``drift_at`` on, stages show themselves differently.

    ``device_sharing``: of the personal devices that are used at all, this share is used by a second person as well
    (None: by nobody; the common devices of households are not meant). ``every_device_logs_in``: everybody has an
    account before the end, no browser forgets its cookie before that, and every identifier of a device and every
    contact is named beside its owner's login at least once.
    """

    customers: int = 2_000
    days: int = 60
    seed: int = 7
    start: int = DEFAULT_START
    drift_at: int | None = None
    activity: float = 1.0
    late_share: float = 0.01
    expired_share: float = 0.002
    offline_share: float = 0.03
    duplicate_share: float = 0.015
    conflict_share: float = 0.0005
    malformed_share: float = 0.003
    skew_share: float = 0.01
    dirty_share: float = 0.005
    shared_share: float = 0.2
    kiosk_share: float = 0.01
    opt_out_share: float = 0.08
    erasure_share: float = 0.005
    logged_share: float = 0.5
    account_share: float = 0.8
    login_share: float | None = None
    device_sharing: float | None = None
    every_device_logs_in: bool = False
    noise: float = 0.05
    events_per_file: int = 200_000
    codec: str = "deflate"

    def __post_init__(self) -> None:
        """Raises UsageError for a value out of its range."""
        if not 1 <= self.customers <= 50_000_000:
            raise UsageError(f"customers is {self.customers}", hint="give 1 to 50,000,000")
        if not 1 <= self.days <= 3_650:
            raise UsageError(f"days is {self.days}", hint="give 1 to 3,650")
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"seed is {self.seed}", hint="give a whole number from 0 up")
        if not 0 < self.activity <= 20:
            raise UsageError(f"activity is {self.activity}", hint="give more than 0 and at most 20")
        for name in (*_SHARES, *_OPTIONAL_SHARES):
            value = getattr(self, name)
            if value is None and name in _OPTIONAL_SHARES:
                continue
            if not 0 <= value <= 1:
                raise UsageError(f"{name} is {value}", hint="a share lies between 0 and 1")
        if not 315_532_800_000_000 <= self.start <= 4_000_000_000_000_000:
            raise UsageError("the world must start between 1980 and 2096")
        if self.codec not in ("deflate", "null"):
            raise UsageError(f"codec is {self.codec!r}", hint="give deflate or null")
        if self.events_per_file < 1:
            raise UsageError("events_per_file must be at least 1")

    @property
    def end(self) -> int:
        """End of the simulated time: no event of the first part of the world happens at or after it."""
        return self.start + self.days * DAY

    @property
    def chunk_size(self) -> int:
        """People generated at once: as many as give about 50,000 events, so that memory depends on nothing else."""
        return max(16, min(2_000, round(25_000 / (self.days * self.activity))))

    @property
    def chunks(self) -> int:
        return -(-self.customers // self.chunk_size)


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of simulated time that was written: the first by ``simulate``, each other one by ``respond``."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class World:
    """What ``world.json`` holds: enough to play the world on."""

    config: WorldConfig
    segments: tuple[Segment, ...]

    def save(self, folder: Path) -> None:
        """Write it. A setting of ``_LEFT_OUT`` stands in the file only where it was set."""
        plain = {field.name: field.default for field in fields(WorldConfig) if field.name in _LEFT_OUT}
        config = {
            name: value for name, value in asdict(self.config).items() if name not in plain or value != plain[name]
        }
        content = {
            "format": FORMAT,
            "config": config,
            "segments": [asdict(segment) for segment in self.segments],
        }
        partial = folder / (WORLD_FILE + ".tmp")
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        partial.replace(folder / WORLD_FILE)


def load_world(folder: Path) -> World:
    """Read ``world.json``. Raises InputError when the folder holds no simulated world, or one this code cannot read."""
    path = folder / WORLD_FILE
    remedy = "give the folder that `wayline simulate` wrote"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise InputError(f"{path} has format {content['format']}; this version reads {FORMAT}", hint=remedy)
        known = {field.name for field in fields(WorldConfig)}
        config = WorldConfig(**{name: value for name, value in content["config"].items() if name in known})
        return World(config, tuple(Segment(**segment) for segment in content["segments"]))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", hint=remedy) from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged: {error}", hint=remedy) from error
