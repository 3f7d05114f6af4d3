"""Consent: what a person allows, from what events state.

Input: events in order. Output: purpose to granted; a purpose nobody spoke of is absent. Time domain: event time.
Errors: none. State: the newest statement of each holder about each purpose.

A statement belongs to the known identifiers on its event (login, mailbox, phone, CRM record), or, on an event without
any, to its strand. A holder's newest statement counts; of several at one instant a refusal. Between holders a refusal
wins. So an opt-out survives a merge with somebody who agreed, and only who made it can take it back: a mailbox that
unsubscribed is not subscribed again by what a cookie banner says.
"""

from __future__ import annotations

from collections.abc import Mapping

from contracts.event import Event


class ConsentFold:
    """Consent of one journey. ``granted`` is replaced, never changed, when it becomes another."""

    __slots__ = ("_known", "_said", "granted")

    def __init__(self, known: Mapping[str, str]) -> None:
        """``known``: namespaces that name a person or mailbox rather than a device."""
        self._known = known
        self._said: dict[str, dict[tuple[str, str], tuple[int, bool]]] = {}
        self.granted: dict[str, bool] = {}

    def observe(self, event: Event, strand_id: str, revokes: tuple[str, ...]) -> None:
        """Take one event; ``revokes`` are purposes that it withdraws by being what it is."""
        statements = {**event.consent, **dict.fromkeys(revokes, False)}
        holders = [(i.namespace, i.value) for i in event.identifiers if i.namespace in self._known]
        if not holders:
            holders = [("strand", strand_id)]
        now = event.event_time
        for purpose, granted in statements.items():
            said = self._said.setdefault(purpose, {})
            for holder in holders:
                before = said.get(holder)
                said[holder] = (now, granted and before[1] if before is not None and before[0] == now else granted)
            together = all(granted for _, granted in said.values())
            if self.granted.get(purpose) is not together:
                self.granted = {**self.granted, purpose: together}
