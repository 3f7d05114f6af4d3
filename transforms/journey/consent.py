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

from contracts.event import Event, Identifier


class ConsentFold:
    """Consent of one journey. ``granted`` is replaced, never changed, when it becomes another."""

    __slots__ = ("_consent", "_identifiers", "_known", "_repeated", "_said", "_strand_id", "granted")

    def __init__(self, known: Mapping[str, str]) -> None:
        """``known``: namespaces that name a person or mailbox rather than a device."""
        self._known = known
        self._said: dict[str, dict[tuple[str, str], tuple[int, bool]]] = {}
        self.granted: dict[str, bool] = {}
        self._consent: dict[str, bool] = {}
        self._identifiers: tuple[Identifier, ...] = ()
        self._strand_id = ""
        self._repeated: int | None = None

    def observe(self, event: Event, strand_id: str, revokes: tuple[str, ...]) -> None:
        """Take one event; ``revokes`` are purposes that it withdraws by being what it is."""
        statements = event.consent
        if revokes:
            statements = {**statements, **dict.fromkeys(revokes, False)}
        # Trackers repeat themselves: saying the same again only moves the time of the statement, which is noted when
        # somebody says something else.
        if statements == self._consent and strand_id == self._strand_id and event.identifiers == self._identifiers:
            self._repeated = event.event_time
            return
        if self._repeated is not None:
            self._state(self._repeated)
            self._repeated = None
        self._consent, self._identifiers, self._strand_id = statements, event.identifiers, strand_id
        self._state(event.event_time)

    def _state(self, now: int) -> None:
        holders = [(i.namespace, i.value) for i in self._identifiers if i.namespace in self._known]
        if not holders:
            holders = [("strand", self._strand_id)]
        for purpose, granted in self._consent.items():
            said = self._said.setdefault(purpose, {})
            for holder in holders:
                before = said.get(holder)
                said[holder] = (now, granted and before[1] if before is not None and before[0] == now else granted)
            together = all(granted for _, granted in said.values())
            if self.granted.get(purpose) is not together:
                self.granted = {**self.granted, purpose: together}
