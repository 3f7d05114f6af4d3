"""What a batch of live journeys makes, and what each journey in it has to do. Plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from contracts.event import Event
from contracts.exchange import Decision, OnlineFeatures, StatedRows, StrandMessage
from transforms.journey.live.deciding import LivePerson
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
