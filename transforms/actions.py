"""From decisions to actions: what is to be sent, claimed once, sent once, and what became of it.

Contract: each decision in gives one action out, also one that is not sent. Its status says what happened:

- ``suppressed``: on purpose not sent. The reason begins with ``nothing`` (that was the decision), ``dry run``,
  ``stale`` (decided longer than ``max_age`` before the horizon), ``consent``, ``suppressed``, ``duplicate``, ``cap`` or
  ``erased``.
- ``sent``, ``failed``: the channel took it, or never will.
- ``pending``: not sent yet: the channel is down, or another process has it; the next run takes it up.
- ``in_doubt``: it may have been sent, and repeating it would not be harmless.

The order of writing is the promise: the action id is claimed, then the intent is recorded, then the message leaves,
then the result is recorded. A process killed anywhere in between leaves either nothing sent or an intent without a
result.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from contracts.errors import LedgerError
from contracts.event import DAY, HOUR
from contracts.exchange import Action, Decision
from transforms.channels.base import Message
from transforms.channels.config import ChannelsConfig, open_channel
from transforms.channels.delivery import Delivery
from transforms.stores.effects import (
    DRY_RUN,
    FAILED,
    PENDING,
    STATUSES,
    SUPPRESSED,
    EffectStore,
    Guards,
    PlannedAction,
    SendCap,
)

Mode = Literal["live", "dry-run"]

NOTHING = "nothing"
"""What ``Decision.chosen`` says when no candidate was left; also the channel of the action that records it."""

ERASED = "erased since it was decided"
"""Reason of an action that is counted and of which nothing is kept."""


@dataclass(frozen=True, slots=True)
class ActRules:
    """How decisions are carried out. Times are event time in microseconds.

    Attributes:
        mode: ``live`` sends; ``dry-run`` records what would have been sent. A later live run still sends it, if it
            is not stale by then.
        horizon: the end of what the run knows: the present, as far as events tell. The graph fills it in.
        max_age: a decision older than this at the horizon is not carried out.
        caps: checked again over all the person's strands when an action is claimed.
        duplicate_window: the same template on the same channel within it is not sent twice.
        stamp: what is sent carries the ``horizon``, so that a run over old events stays in their time, or the
            ``clock``.
    """

    mode: Mode
    horizon: int
    max_age: int = DAY
    caps: tuple[SendCap, ...] = ()
    duplicate_window: int = HOUR
    stamp: Literal["horizon", "clock"] = "horizon"


def action_id_of(decision_id: str, channel: str) -> str:
    """The id of the action that carries a decision out over a channel; it is the idempotency key."""
    return hashlib.blake2b(f"{decision_id}\0{channel}".encode(), digest_size=16).hexdigest()


def plan_action(decision: Decision, rules: ActRules) -> PlannedAction:
    """The action of a decision, before the store is asked: ``pending`` if it should be sent, else ``suppressed``."""
    nothing = decision.chosen == NOTHING or decision.channel is None
    channel = NOTHING if nothing or decision.channel is None else decision.channel
    reason = (
        (decision.reason if decision.reason.startswith(NOTHING) else f"{NOTHING}: {decision.reason}")
        if nothing
        else DRY_RUN
        if rules.mode == "dry-run"
        else "stale: decided too long before the horizon"
        if decision.at < rules.horizon - rules.max_age
        else f"consent: {decision.purpose} was not granted"
        if decision.purpose is not None and not decision.consent.get(decision.purpose, True)
        else None
    )
    action = Action(
        action_id=action_id_of(decision.decision_id, channel),
        decision_id=decision.decision_id,
        person_id=decision.person_id,
        anchor_strand=decision.anchor_strand,
        channel=channel,
        template="" if nothing else decision.template or decision.chosen,
        status=PENDING if reason is None else SUPPRESSED,
        reason=reason or "",
        at=decision.at,
    )
    return PlannedAction(action, decision.at, decision.purpose, decision.anchor_at)


def message_of(decision: Decision, action: Action) -> Message:
    """What leaves: the least that lets a receiver act and answer."""
    return Message(
        action_id=action.action_id,
        decision_id=decision.decision_id,
        person_id=action.person_id,
        anchor_strand=decision.anchor_strand,
        channel=action.channel,
        template=action.template,
        at=decision.at,
        stage=decision.stage,
        purpose=decision.purpose,
        plan=decision.plan,
        plan_step=decision.plan_step,
        session_id=decision.session_id,
        reason=decision.reason,
        policy_version=decision.policy_version,
    )


class Performer:
    """Carries decisions out, a batch at a time.

    Args:
        store: claims and results; closed by its owner.
        channels: how each channel is reached.
        folder: where file channels write.
        rules: see ``ActRules``.
        now: microseconds, for the stamp ``clock``.
        clock: seconds, growing, for rates.
        sleep: waits so many seconds.

    Errors: ``LockedError`` and ``OutputError`` of the store, ``ConfigurationError`` and ``OutputError`` of a channel
    that cannot be opened. What a receiver does wrong is a status, never an error.
    """

    def __init__(
        self,
        store: EffectStore,
        channels: ChannelsConfig,
        folder: Path,
        rules: ActRules,
        *,
        now: Callable[[], int],
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._store = store
        self._channels = channels
        self._folder = folder
        self._rules = rules
        self._now = now
        self._clock = clock
        self._sleep = sleep
        self._deliveries: dict[str, Delivery] = {}

    def close(self) -> None:
        for delivery in self._deliveries.values():
            delivery.close()
        self._deliveries.clear()

    def start_bundle(self) -> None:
        """Believe in every receiver again; one that is down stays so for all batches of a bundle."""
        for delivery in self._deliveries.values():
            delivery.reset()

    def see(self, horizon: int) -> None:
        """What is known now reaches up to ``horizon``, event time in microseconds."""
        if horizon != self._rules.horizon:
            self._rules = replace(self._rules, horizon=horizon)

    def perform(self, decisions: Sequence[Decision]) -> list[Action]:
        """Carry out a batch; one action for each decision, in the given order."""
        by_action: dict[str, Decision] = {}
        plans: list[PlannedAction] = []
        asked: list[str] = []
        for decision in decisions:
            plan = plan_action(decision, self._rules)
            asked.append(plan.action.action_id)
            if by_action.setdefault(plan.action.action_id, decision) is decision:
                plans.append(plan)
        # In the order of deciding, so that what a cap lets through does not depend on how a batch was put together.
        plans.sort(key=_order)
        names = frozenset(plan.action.channel for plan in plans)
        guards = Guards(self._rules.caps, self._rules.duplicate_window, self._channels.retried_in_doubt(names))
        results = {p.action.action_id: replace(p.action, status=SUPPRESSED, reason=ERASED) for p in plans}
        to_send: dict[str, list[Action]] = {}
        for action, mine in self._store.claim_actions(plans, guards):
            results[action.action_id] = action
            if mine:
                to_send.setdefault(action.channel, []).append(action)
        for channel, actions in to_send.items():
            self._send(channel, actions, by_action, results)
        return [results[action_id] for action_id in asked]

    def _send(
        self, channel: str, actions: list[Action], decisions: dict[str, Decision], results: dict[str, Action]
    ) -> None:
        """Send what was claimed over one channel; each commit records a chunk's intents and the results before."""
        delivery = self._delivery(channel)
        finished: list[Action] = []
        if delivery is None:
            finished = [replace(a, status=FAILED, reason=f"no channel {channel!r} is configured") for a in actions]
            actions = []
        size = delivery.channel.chunk if delivery else 1
        for start in range(0, len(actions), size):
            chunk = actions[start : start + size]
            if delivery is None or delivery.is_down:
                results.update((a.action_id, replace(a, reason=f"channel {channel} is down")) for a in chunk)
                continue
            begun = self._store.advance(finished, [action.action_id for action in chunk])
            results.update((action.action_id, action) for action in finished)
            finished = []
            for action in chunk:
                if action.action_id not in begun:
                    results[action.action_id] = replace(action, status=SUPPRESSED, reason=ERASED)
            chunk = [action for action in chunk if action.action_id in begun]
            if not chunk:
                continue
            done = delivery.send([message_of(decisions[action.action_id], action) for action in chunk])
            at = self._rules.horizon if self._rules.stamp == "horizon" else self._now()
            finished = [
                replace(a, status=done.status, reason=done.reason, at=at, attempts=a.attempts + done.attempts)
                for a in chunk
            ]
        if finished:
            self._store.advance(finished, [])
            results.update((action.action_id, action) for action in finished)

    def _delivery(self, channel: str) -> Delivery | None:
        if channel not in self._deliveries:
            config = self._channels.of(channel)
            if config is None:
                return None
            self._deliveries[channel] = Delivery(
                open_channel(channel, config, self._folder),
                attempts=config.attempts,
                rate=config.rate,
                clock=self._clock,
                sleep=self._sleep,
            )
        return self._deliveries[channel]


def _order(plan: PlannedAction) -> tuple[int, str]:
    return (plan.decided_at, plan.action.action_id)


def decision_ledger(actions: Iterable[Action]) -> dict[str, int]:
    """How many actions stand in each status; every status is there."""
    counts = Counter(action.status for action in actions)
    return {status: counts[status] for status in STATUSES}


def check_decision_ledger(decisions: int, counts: dict[str, int]) -> None:
    """The promise: decisions = sent + suppressed + failed + pending + in_doubt.

    Raises:
        LedgerError: they differ, or a status is none of these.
    """
    strange = sorted(set(counts) - set(STATUSES))
    if strange:
        raise LedgerError(f"actions have a status that does not exist: {', '.join(strange)}")
    total = sum(counts.values())
    if total != decisions:
        parts = " + ".join(f"{counts.get(status, 0)} {status}" for status in STATUSES)
        raise LedgerError(f"{decisions} decisions, but {total} actions: {parts}")
