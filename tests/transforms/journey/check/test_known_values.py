"""What the check takes for granted of facts and features holds of any journey."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.event import DAY, HOUR, MINUTE, SECOND, Event
from transforms.journey.check.known_values import AT_MOST, GROWING
from transforms.journey.fold import JourneyFold
from transforms.journey.functions import FUNCTIONS
from transforms.journey.ontology import Ontology
from transforms.journey.path import StagePaths

NAMES = (
    "home_view", "search", "product_view", "comparison_view", "pricing_view", "pricing_view", "add_to_cart",
    "checkout_start", "demo_request", "purchase", "support_ticket", "renewal", "email_opened", "email_clicked",
)  # fmt: skip
HAPPENED = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from((0, SECOND, 29 * MINUTE, 30 * MINUTE, 7 * HOUR, 6 * DAY, 29 * DAY)),
        st.sampled_from((("anonymous_id", "a"), ("user_id", "u"), ("email_sha256", "e"))),
    ),
    min_size=1,
    max_size=20,
)


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(happened=HAPPENED, later=st.sampled_from((0, HOUR, 8 * DAY, 40 * DAY)))
def test_the_order_of_names_and_what_never_falls_hold_of_any_journey(
    ontology: Ontology,
    event: Callable[..., Event],
    start: int,
    happened: list[tuple[str, int, tuple[str, str]]],
    later: int,
) -> None:
    at, events = start, []
    for number, (name, gap, who) in enumerate(happened):
        at += gap
        events.append((event(name, at, event_id=f"e{number:02}", who=(who,)), "strand"))
    paths = StagePaths(ontology, FUNCTIONS)
    trace = JourneyFold(ontology, FUNCTIONS).trace("p1", events, at + later)
    path = paths.stage_path(trace)
    before = dict.fromkeys(GROWING, 0.0)
    for moment in sorted({one.event_time for one, _ in events} | {at + later}):
        told = paths.trigger_at(trace, path, moment)
        values = {**told.features, **told.facts}
        for small, large in AT_MOST:
            assert values[small] <= values[large], (small, large)
        now = {name: values[name] for name in GROWING}
        assert all(now[name] >= before[name] for name in GROWING)
        before = now
