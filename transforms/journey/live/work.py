"""What a batch of live journeys makes, what each journey in it has to do, and what a step leaves. Plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from contracts.event import Event
from contracts.exchange import Decision, OnlineFeatures, StatedRows, StrandMessage
from transforms.journey.live.deciding import LivePerson
from transforms.journey.live.entries import Folded
from transforms.journey.live.machine import Machine
from transforms.journey.live.messages import PersonRecord


@dataclass(slots=True)
class Work:
    """What a batch made.

    Attributes:
        records: new records by person; None where nothing is left to remember.
        taken: the messages that changed or wait in a record, by person: what a log must keep.
        stated: rows by table.
        decisions: to carry out, also those that were claimed before and did not leave.
        online: newest vectors, and persons without events.
        touched: persons whose journeys went on.
        counts: how often what happened, see ``LiveJourneys``.
        live: machines by person; None where there is none any more.
        due: when time alone does something next, of the same.
    """

    records: dict[str, PersonRecord | None] = field(default_factory=dict)
    taken: dict[str, list[StrandMessage]] = field(default_factory=dict)
    stated: list[StatedRows] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    online: OnlineFeatures | None = None
    touched: tuple[str, ...] = ()
    counts: Counter[str] = field(default_factory=Counter)
    live: dict[str, LivePerson | None] = field(default_factory=dict)
    due: dict[str, int | None] = field(default_factory=dict)


@dataclass(slots=True)
class Job:
    """One journey to go on: with which events, to where. ``whole``: it is folded anew, ``old`` is what it was."""

    live: LivePerson
    record: PersonRecord
    events: list[tuple[Event, str]]
    horizon: int
    whole: bool = False
    old: Machine | None = None
    erased: Sequence[tuple[str, str]] = ()


@dataclass(slots=True)
class Pending:
    """What ``commit`` does.

    Attributes:
        works: what was done; of ``woken`` the records were read back for it.
        asleep: who falls asleep, and the version of the record store; ``gone``: for whom nothing is due besides.
        rested: whose machines rest.
        shortened: records of which the older events were archived.
        dues: when those are due who were read back for a moment.
        place, after: up to whom all had their turn to be folded again, as of ``Following``; ``renewed``: all had.
        folded: what the log says then of the activations the shard was folded by.
    """

    works: list[Work] = field(default_factory=list)
    woken: set[str] = field(default_factory=set)
    asleep: dict[str, int] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    rested: list[str] = field(default_factory=list)
    shortened: dict[str, PersonRecord] = field(default_factory=dict)
    now: int = 0
    dues: dict[str, int | None] = field(default_factory=dict)
    place: int = 0
    after: str | None = None
    renewed: bool = False
    folded: Folded | None = None
