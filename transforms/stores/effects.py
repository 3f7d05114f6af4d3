"""The effect store: what was decided, done and answered, kept under anchor strands, claimed once whoever asks.

A decision or an action has an id that depends on nothing but the moment it belongs to. Claiming an id is
insert-or-get: the first claim wins, every later one, by a retried bundle, a second run or another process, gets what
the first one stored.

An action goes through ``pending`` (claimed, nothing sent), ``sending`` (the intent to send is on the disk), and one of
``sent``, ``failed``, ``suppressed``. An action found ``sending`` whose owner is dead may or may not have reached its
receiver: it becomes ``in_doubt``, and is sent again only where the channel's policy says that this is harmless.

All times are event time in UTC microseconds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from contracts.event import HOUR
from contracts.exchange import Action, Decision, History, Outcome
from transforms.stores.database import DEFAULT_TIMEOUT, StoreAddress, open_database

PENDING, SENDING = "pending", "sending"
SENT, SUPPRESSED, FAILED, IN_DOUBT = "sent", "suppressed", "failed", "in_doubt"
STATUSES = (SENT, SUPPRESSED, FAILED, PENDING, IN_DOUBT)
"""What an ``Action`` shows; ``sending`` is between the store and the sender."""

DRY_RUN = "dry run"
"""Reason of an action recorded without being sent; it settles no pending action, and a live run may still send it."""

OPT_OUTS = ("complained", "unsubscribed")
"""Outcome kinds after which nothing more goes out on that channel."""

EMPTY_HISTORY = History()


@dataclass(frozen=True, slots=True)
class SendCap:
    """At most ``maximum`` actions a person within ``per`` microseconds over ``channels``; none named means all."""

    per: int
    maximum: int
    channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Guards:
    """What is checked again in the transaction that claims an action.

    ``duplicate_window``: the same template on the same channel to the same person within so many microseconds is a
    duplicate; 0 switches it off. ``retry_in_doubt`` names the channels on which an action in doubt may be sent again.
    """

    caps: tuple[SendCap, ...] = ()
    duplicate_window: int = HOUR
    retry_in_doubt: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PlannedAction:
    """An action to claim: ``pending`` if it is to be sent, ``suppressed`` if only to be recorded.

    ``decided_at`` is the evaluation point of the decision; windows of caps are counted in it. ``purpose`` is the
    consent purpose the action needs, None if it needs none. ``anchor_at`` as of the decision.
    """

    action: Action
    decided_at: int
    purpose: str | None = None
    anchor_at: int | None = None

    @property
    def held_at(self) -> int:
        """The time that says whose it is, as of the decision."""
        return self.decided_at if self.anchor_at is None else self.anchor_at


class Claimed(NamedTuple):
    """The action as stored, and whether the caller is the one to send it."""

    action: Action
    mine: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """A person as of ``at``: the strands held, the consent given. Actions are checked against it when sent.

    ``since`` has the strands that were others' before, and until when: what was decided of events before stays with
    whom it was decided about. ``until`` has those that were the person's and are another's now, and since when.
    """

    person_id: str
    strands: tuple[str, ...]
    at: int
    consent: dict[str, bool] = field(default_factory=dict)
    since: Mapping[str, int] = field(default_factory=dict)
    until: Mapping[str, int] = field(default_factory=dict)


class DecidedIds(NamedTuple):
    """Ids of decisions and of actions, in order."""

    decisions: tuple[str, ...]
    actions: tuple[str, ...]


class EffectStore(Protocol):
    """Insert-or-get of decisions and actions, in batches, safe for several processes.

    Every method is one transaction. Errors: ``LockedError`` when another process holds the store too long or its server
    is away too long, ``OutputError`` when it cannot be used.
    """

    def claim_decisions(
        self, decisions: Sequence[Decision], *, standings: Iterable[Standing] = (), outcomes: Iterable[Outcome] = ()
    ) -> list[Decision]:
        """Store those whose id is new; return the stored one for each, in the given order.

        What was erased (``purge``) is neither stored nor returned, decisions, actions and outcomes alike: whoever asks
        has not heard of the erasure, or goes back behind it.

        In one commit with them, since each is a way to the disk: to whom strands belong now, and the consent of persons
        (an older standing never replaces a newer one); and outcomes by id (the last statement of an id stands).
        """
        ...

    def histories(self, persons: Mapping[str, Collection[str]]) -> dict[str, History]:
        """For each person, given with the strands held, what was decided and done under these strands."""
        ...

    def claim_actions(self, planned: Sequence[PlannedAction], guards: Guards) -> list[Claimed]:
        """Store those whose id is new, after checking consent, opt-out, duplicate and cap; return what is stored.

        None of what was erased, as with decisions.
        """
        ...

    def advance(self, finished: Sequence[Action], starting: Sequence[str]) -> frozenset[str]:
        """Record results and, in one commit with them, the intent to send ``starting``; return those to send now."""
        ...

    def outcomes(self, strands: Collection[str]) -> tuple[Outcome, ...]:
        """The outcomes kept under these strands, ascending by (at, outcome_id)."""
        ...

    def unfinished(self) -> tuple[Decision, ...]:
        """Decisions whose action is claimed but has no result, for a run that takes up what another left."""
        ...

    def find_action(self, action_id: str) -> Action | None:
        """The action of an id: how a receipt finds the strand it concerns."""
        ...

    def find_actions(self, action_ids: Collection[str]) -> dict[str, Action]:
        """The actions of ids, by id; unknown ones are left out."""
        ...

    def action_counts(self) -> dict[str, int]:
        """How many actions stand in each of ``STATUSES``."""
        ...

    def mark_erased(self, strands: Collection[str], up_to: int) -> DecidedIds:
        """Take nothing of these strands up to a time any more; return the ids of what ``purge`` will erase of it."""
        ...

    def purge(self, strands: Collection[str], up_to: int) -> int:
        """Erase what followed from events of these strands up to a time: decisions, actions, answers; return how many.

        Whose the strands are, and the consent of persons without any other, is forgotten too. That they were erased,
        and up to when, stays, by the id of the strand, a hash of pseudonyms.
        """
        ...

    def close(self) -> None:
        """Give up the connection and every claim that has no intent."""
        ...


def open_effects(address: StoreAddress, timeout: float = DEFAULT_TIMEOUT) -> EffectStore:
    """The effect store in the database ``address``.

    Args:
        timeout: seconds to wait for another process that writes, or for a server that does not answer.

    Raises:
        LockedError, OutputError, ConfigurationError: as ``open_database``.
    """
    from transforms.stores.effect_store import SCHEMA, StoredEffects

    return StoredEffects(open_database(address, SCHEMA, timeout))
