"""What fills the columns: contract objects to rows, in the order of ``contracts.tables``. Pure.

Each function names its table; nothing else knows the order of columns.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec

from contracts.event import SECOND
from contracts.exchange import Action, DeadLetter, Decision, Label, Outcome, Session, SignalEvidence, Transition
from contracts.tables import DEAD_LETTERS
from transforms.dead_letter import UNDATED

Row = tuple[Any, ...]

_encoder = msgspec.json.Encoder()


def json_text(value: object) -> str:
    """Compact JSON."""
    return _encoder.encode(value).decode()


@lru_cache(maxsize=4_096)
def json_names(names: tuple[str, ...]) -> str:
    """A JSON list of names; the same few combinations occur again and again."""
    return json_text(names)


class _TextsOnce:
    """JSON of objects that come again and again as the same object: by identity, which costs less than looking inside.

    Args:
        limit: objects remembered, and so kept alive.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: dict[int, tuple[object, str]] = {}

    def text(self, value: object) -> str:
        known = self._known.get(id(value))
        if known is None:
            if len(self._known) >= self._limit:
                self._known.clear()
            known = self._known[id(value)] = (value, json_text(value))
        return known[1]


_candidates = _TextsOnce(4_096)
_features = _TextsOnce(1)
"""The decisions of one moment follow each other and share their features."""


def session_row(session: Session) -> Row:
    """``sessions``."""
    return (
        session.session_id,
        session.person_id,
        *_told(session),
        session.strands,
        session.tracker_sessions,
    )


def device_session_row(session: Session) -> Row:
    """``device_sessions``."""
    return (
        session.session_id,
        session.person_id,
        session.strand_id,
        session.number,
        session.inside,
        *_told(session),
        session.tracker_sessions,
    )


def _told(session: Session) -> Row:
    engaged = session.engaged
    return (
        session.started_at,
        session.ended_at,
        session.events,
        session.entry_page,
        session.exit_page,
        session.channel,
        session.device,
        session.campaign,
        session.tracker_session_id,
        session.conversions,
        (session.ended_at - session.started_at) / SECOND,
        json_channels(tuple(sorted(session.channels.items()))),
        session.views,
        session.bounced,
        None if engaged is None else engaged / SECOND,
    )


@lru_cache(maxsize=4_096)
def json_channels(channels: tuple[tuple[str, int], ...]) -> str:
    """A JSON object of counts by channel; most sessions have one channel and few activities."""
    return json_text(dict(channels))


def signal_values(signals: Iterable[SignalEvidence]) -> list[dict[str, Any]]:
    """Signals with their decayed values, as evidence shows them."""
    return [
        {
            "stage": s.stage,
            "signal": s.signal,
            "value": round(s.value, 6),
            "count": s.count,
            "last_event_id": s.last_event_id,
            "last_time": s.last_time,
        }
        for s in signals
    ]


def transition_row(transition: Transition) -> Row:
    """``transitions``."""
    evidence = {
        "reason": transition.reason,
        "confidence": round(transition.confidence, 6),
        "event_id": transition.event_id,
        "signals": signal_values(transition.signals),
        "ontology_version": transition.ontology_version,
        "model_version": transition.model_version,
    }
    return (
        transition.person_id,
        transition.from_stage,
        transition.to_stage,
        transition.at,
        transition.session_id,
        transition.decided_by,
        json_text(evidence),
    )


def decision_row(decision: Decision) -> Row:
    """``decisions``."""
    return (
        decision.decision_id,
        decision.person_id,
        decision.at,
        decision.trigger,
        decision.chosen,
        f"[{','.join([_candidates.text(candidate) for candidate in decision.candidates])}]",
        decision.reason,
        decision.policy_version,
        decision.model_version,
        decision.propensity,
        decision.slot,
        decision.stage,
        decision.channel,
        decision.plan,
        decision.plan_step,
        decision.anchor_strand,
        decision.session_id,
        decision.ontology_version,
        _features.text(decision.features),
        json_text(decision.facts),
        json_text(decision.consent),
    )


def action_row(action: Action) -> Row:
    """``actions``."""
    return (
        action.action_id,
        action.decision_id,
        action.channel,
        action.status,
        action.at,
        action.person_id,
        action.template,
        action.reason,
        action.attempts,
    )


def outcome_row(outcome: Outcome) -> Row:
    """``outcomes``."""
    return (outcome.outcome_id, outcome.action_id, outcome.kind, outcome.at, outcome.person_id, outcome.value)


def label_row(label: Label) -> Row:
    """``labels``."""
    return (
        label.decision_id,
        label.outcome,
        label.at,
        label.matured_at,
        label.person_id,
        label.arm,
        label.propensity,
        label.origin,
        label.decided_at,
    )


def withdrawn_row(letter: DeadLetter) -> Row:
    """``dead_letters``: the key of one that no longer holds. Whatever it said may have to be forgotten."""
    return (letter.dead_letter_id, *[None] * (len(DEAD_LETTERS.columns) - 1))


def dead_letter_row(letter: DeadLetter) -> Row:
    """``dead_letters`` and ``expired_late``."""
    return (
        letter.dead_letter_id,
        letter.stage,
        letter.reason,
        letter.source,
        letter.schema_id,
        None if letter.at == UNDATED else letter.at,
        letter.detail,
        letter.payload_schema,
        letter.payload,
    )
