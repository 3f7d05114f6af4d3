"""What is counted of a journey: groups of behaviours, the counters, and which of them an event feeds.

Input: behaviours, channel, and whether the event is an activity and begins a session. Output: ``Effects``. Units:
windows in microseconds. Errors: none. State: a cache. Pure.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from contracts.event import DAY

WEEK, MONTH = 7 * DAY, 30 * DAY
WINDOWS = (DAY, WEEK, MONTH)

GROUPS: dict[str, tuple[str, ...]] = {
    "research": ("content_view", "category_view", "search"),
    "ad": ("ad_view", "ad_click"),
    "product": ("product_view", "review_read"),
    "comparison": ("comparison",),
    "pricing": ("pricing_view",),
    "cart": ("cart",),
    "checkout": ("checkout",),
    "contact": ("form", "sales_contact", "store_visit"),
    "usage": ("usage", "account"),
    "support": ("support",),
    "email_response": ("email_open", "email_click"),
    "content": ("content_view",),
    "search": ("search",),
    "email_click": ("email_click",),
    "trouble_shown": ("refund", "email_negative"),
}
"""Groups of behaviours counted in windows. An event counts once in a group, however many of its behaviours it shows."""

TOTALS: dict[str, tuple[str, ...]] = {
    "conversion": ("conversion", "renewal"),
    "known": ("login", "account"),
    "trouble": ("refund", "email_negative"),
}
"""Groups of behaviours counted over the whole journey."""

COUNTERS: tuple[tuple[str, int], ...] = (
    ("activity", DAY),
    ("activity", WEEK),
    ("activity", MONTH),
    ("session", WEEK),
    ("research", WEEK),
    ("ad", MONTH),
    ("product", WEEK),
    ("comparison", MONTH),
    ("pricing", MONTH),
    ("cart", WEEK),
    ("checkout", MONTH),
    ("contact", MONTH),
    ("usage", MONTH),
    ("support", MONTH),
    ("email_response", MONTH),
    ("touch", MONTH),
    ("email_touch", MONTH),
    ("human_touch", MONTH),
    ("session", MONTH),
    ("content", WEEK),
    ("search", WEEK),
    ("product", MONTH),
    ("pricing", WEEK),
    ("pricing_return", MONTH),
    ("email_click", MONTH),
    ("trouble_shown", MONTH),
    ("device_switch", MONTH),
)
"""(what, window) of each counter: a group above; ``activity``, what the customer did; ``session``, sessions begun;
``touch``, any event; ``email_touch`` and ``human_touch`` (calls and store), those of a channel; ``pricing_return``, a
look at prices in a later session than the look before; ``device_switch``, activity on another class of device than the
activity before that named one."""

COUNTER = {counted: index for index, counted in enumerate(COUNTERS)}

Feeds = tuple[tuple[int, ...], ...]
"""The counters that an event feeds, for each of ``WINDOWS``, and at the end all of them."""

_EMAIL, _HUMAN = "email", frozenset({"call", "store"})
_KINDS = tuple(GROUPS[name] for name in ("research", "ad", "product", "comparison", "pricing", "cart", "checkout"))


class Effects(NamedTuple):
    """What an event does: the counters it feeds, what it is among the totals, and the groups it shows, as bits."""

    feeds: Feeds
    remarkable: bool
    """It is any of the six that follow; most events are none."""
    conversion: bool
    known: bool
    trouble: bool
    pricing: bool
    cart: bool
    response: bool
    groups: int
    returning: Feeds
    """The counters it feeds when it is a look at prices that comes back to them."""
    switching: Feeds
    """The counters it feeds when it is on another class of device than before."""
    both: Feeds


@lru_cache(maxsize=16384)
def effects_of(behaviours: tuple[str, ...], channel: str, new_session: bool, activity: bool) -> Effects:
    """What an event does that shows these behaviours. Few combinations occur, so cached."""
    shown = set(behaviours)
    fed = {"touch"} | {group for group, members in GROUPS.items() if shown.intersection(members)}
    if activity:
        fed.add("activity")
    if new_session:
        fed.add("session")
    if channel == _EMAIL:
        fed.add("email_touch")
    if channel in _HUMAN:
        fed.add("human_touch")
    conversion, known, trouble = (bool(shown.intersection(members)) for members in TOTALS.values())
    groups = sum(1 << number for number, members in enumerate(_KINDS) if shown.intersection(members))
    return Effects(
        _feeds(fed),
        conversion or known or trouble or not fed.isdisjoint(("pricing", "cart", "email_response")),
        conversion,
        known,
        trouble,
        "pricing" in fed,
        "cart" in fed,
        "email_response" in fed,
        groups,
        _feeds(fed | {"pricing_return"}),
        _feeds(fed | {"device_switch"}),
        _feeds(fed | {"pricing_return", "device_switch"}),
    )


def _feeds(fed: set[str]) -> Feeds:
    by_window = [
        tuple(index for index, (what, length) in enumerate(COUNTERS) if length == window and what in fed)
        for window in WINDOWS
    ]
    return (*by_window, tuple(chain.from_iterable(by_window)))
