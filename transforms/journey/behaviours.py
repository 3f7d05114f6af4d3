"""What an event means: event names and page paths to behaviours, the words that signals and features use.

Purpose: sources call things as they like; everything behind this module speaks of behaviours only. Input: an event's
name and path. Output: a ``Meaning``, cached. Errors: none while running; the ontology's reader refuses a bad table.
State: two bounded caches. Names match whatever their case and whether words are parted by blanks, hyphens,
dots or underscores, so ``Product Viewed`` and ``product_viewed`` are one.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

_PARTING = re.compile(r"[\s\-.:/]+")
_CACHED = 20_000

BEHAVIOURS = (
    "content_view", "category_view", "search", "ad_view", "ad_click", "product_view", "comparison", "review_read",
    "pricing_view", "cart", "checkout", "form", "sales_contact", "conversion", "usage", "account", "support",
    "store_visit", "login", "email_open", "email_click", "email_negative", "refund", "renewal", "advocacy",
)  # fmt: skip
"""The behaviours that features and facts know; an ontology may add its own for its signals."""

OUTCOME_KINDS = ("delivered", "opened", "clicked", "converted", "accepted", "rejected", "complained", "unsubscribed")


def fold_name(name: str) -> str:
    """The form in which event names are compared."""
    return _PARTING.sub("_", name.strip().lower())


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the ontology makes of an event.

    Attributes:
        behaviours: in the order of the ontology.
        known: the ontology names it.
        activity: the person caused it; it belongs to a session and may open one. Receipts and records do not.
        conversion: it counts as a conversion.
        receipt: the outcome kind it reports, if any.
        revokes: consent purposes that it withdraws.
        logged_action: it records a randomised action of an experiment.
        counters: places of the facts it raises by one.
        signals: numbers of the signals it feeds.
        resets: numbers of the signals it sets back to nothing, before it feeds any.
        weakens: numbers of the signals it speaks against, each with the share that is kept.
        renews: numbers of the stages whose ``exit.since`` it shows.
        ends: numbers of the stages that it ends, until something of their ``exit.since`` comes.
        view: it is a view of a page or screen.
        heartbeat: it only says that the person is still there.
    """

    behaviours: tuple[str, ...]
    known: bool
    activity: bool
    conversion: bool = False
    receipt: str | None = None
    revokes: tuple[str, ...] = ()
    logged_action: bool = False
    counters: tuple[int, ...] = ()
    signals: tuple[int, ...] = ()
    resets: tuple[int, ...] = ()
    weakens: tuple[tuple[int, float], ...] = ()
    renews: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()
    view: bool = False
    heartbeat: bool = False


@dataclass(frozen=True, slots=True)
class BehaviourTable:
    """The ontology's tables of names and paths; all names folded (``fold_name``).

    Attributes:
        names: event name to behaviours.
        page_names: events that are told apart by their path.
        page_default: behaviours of such an event whose path matches nothing.
        page_paths: behaviour and its path patterns, in order; every match counts.
        neutral: activities without a behaviour, such as heartbeats.
        records: events that are no activity.
        receipts: event name to outcome kind.
        revokes: event name to consent purposes that it withdraws.
        logged_actions: events that record a randomised action.
        views: behaviours that are views; page events always are.
        heartbeats: events that only say that the person is still there.
    """

    names: Mapping[str, tuple[str, ...]]
    page_names: frozenset[str]
    page_default: tuple[str, ...]
    page_paths: tuple[tuple[str, tuple[str, ...]], ...]
    neutral: frozenset[str]
    records: frozenset[str]
    receipts: Mapping[str, str]
    revokes: Mapping[str, tuple[str, ...]]
    logged_actions: frozenset[str]
    views: frozenset[str] = frozenset()
    heartbeats: frozenset[str] = frozenset()


class Meanings:
    """Looks meanings up, by name, and for page events by path, keeping what it found.

    Args:
        table: names and paths.
        conversions: behaviours that count as a conversion.
        attach: (behaviours, meaning so far) to the meaning with the places of facts and signals filled in.
    """

    def __init__(
        self, table: BehaviourTable, conversions: frozenset[str], attach: Callable[[Meaning], Meaning]
    ) -> None:
        self._table = table
        self._conversions = conversions
        self._attach = attach
        self._by_name: dict[str, Meaning | None] = {}
        self._by_path: dict[tuple[str, str], Meaning] = {}
        self._paths: list[tuple[str, Callable[[str], re.Match[str] | None]]] = [
            (behaviour, _matcher(patterns)) for behaviour, patterns in table.page_paths
        ]

    def of(self, name: str, path: str | None) -> Meaning:
        """The meaning of an event with this name and path; an unknown name means nothing but is an activity."""
        try:
            meaning = self._by_name[name]
        except KeyError:
            meaning = self._learn_name(name)
        if meaning is not None:
            return meaning
        key = (name, path or "")
        try:
            return self._by_path[key]
        except KeyError:
            return self._learn_path(key)

    def _learn_name(self, name: str) -> Meaning | None:
        """None for a page event, whose path decides."""
        folded = fold_name(name)
        meaning = None if folded in self._table.page_names else self._meaning(folded, self._table.names.get(folded, ()))
        if len(self._by_name) >= _CACHED:
            self._by_name.clear()
        self._by_name[name] = meaning
        return meaning

    def _learn_path(self, key: tuple[str, str]) -> Meaning:
        path = key[1].lower()
        found = tuple(behaviour for behaviour, match in self._paths if match(path))
        folded = fold_name(key[0])
        own = self._table.names.get(folded, ())
        meaning = self._meaning(folded, tuple(dict.fromkeys((*own, *(found or self._table.page_default)))))
        if len(self._by_path) >= _CACHED:
            self._by_path.clear()
        self._by_path[key] = meaning
        return meaning

    def _meaning(self, folded: str, behaviours: tuple[str, ...]) -> Meaning:
        table = self._table
        known = (
            bool(behaviours)
            or folded in table.page_names
            or folded in table.neutral
            or folded in table.records
            or folded in table.receipts
            or folded in table.revokes
            or folded in table.logged_actions
        )
        conversion = not self._conversions.isdisjoint(behaviours)
        return self._attach(
            Meaning(
                behaviours,
                known,
                activity=folded not in table.records,
                conversion=conversion,
                receipt=table.receipts.get(folded, "converted" if conversion else None),
                revokes=table.revokes.get(folded, ()),
                logged_action=folded in table.logged_actions,
                view=folded in table.page_names or not table.views.isdisjoint(behaviours),
                heartbeat=folded in table.heartbeats,
            )
        )


def _matcher(patterns: Sequence[str]) -> Callable[[str], re.Match[str] | None]:
    return re.compile("|".join(f"(?:{fnmatch.translate(pattern.lower())})" for pattern in patterns)).match
