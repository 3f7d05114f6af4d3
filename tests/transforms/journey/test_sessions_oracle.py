"""Sessions of the fold against Beam's own ``Sessions`` windows over the same events: an oracle nobody here wrote.

They agree to the millisecond, which is what Beam keeps of a window; exactly the gap apart is two sessions for both.
What a rule of ours leaves out, Beam is not shown: records of other systems belong to no session. By tracker there is no
oracle.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import Sessions, TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from contracts.event import DAY, HOUR, MINUTE, SECOND

GAP, MILLI = 30 * MINUTE, 1_000
PAUSES = st.sampled_from([0, MILLI, SECOND, 10 * MINUTE, GAP - MILLI, GAP, GAP + MILLI, HOUR, 3 * DAY])
ACTIVITIES = ("home_view", "search", "product_view", "add_to_cart")
RECORDS = ("identity_merge", "identity_unlink")
STEPS = st.lists(st.tuples(PAUSES, st.sampled_from([*ACTIVITIES, *RECORDS])), min_size=3, max_size=15)
EDGES = [[(0, "search"), (apart, "search")] for apart in (GAP - MILLI, GAP, GAP + MILLI)]

Told = tuple[str, int, int, int]
"""(person, begin, end, events) of a session."""


class WithWindow(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    """A group and its window, whose end has the gap in it."""

    def process(self, element: tuple[str, Any], window: Any = beam.DoFn.WindowParam) -> Iterator[Told]:
        person, ones = element
        yield person, window.start.micros, window.end.micros - GAP, len(list(ones))


def beam_tells(events: list[tuple[str, int]], expected: list[Told]) -> None:
    """Beam's own windows over these events are the sessions expected."""
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(["--no_save_main_session"])) as pipeline:
        told = (
            pipeline
            | beam.Create(events)
            | beam.Map(lambda pair: TimestampedValue((pair[0], 1), Timestamp(micros=pair[1])))
            | beam.WindowInto(Sessions(Duration(micros=GAP)))
            | beam.GroupByKey()
            | beam.ParDo(WithWindow())
        )
        assert_that(told, equal_to(expected))


@given(st.lists(STEPS, min_size=20, max_size=40))
@example(EDGES)
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
def test_sessions_are_those_of_beams_own_windows(bench: Any, event: Any, start: int, persons: list[Any]) -> None:
    shown: list[tuple[str, int]] = []
    ours: list[Told] = []
    for number, steps in enumerate(persons):
        at, events = start, []
        for place, (pause, name) in enumerate(steps):
            at += pause
            events.append(event(name, at, event_id=f"e{place:03d}"))
            if name in ACTIVITIES:
                shown.append((f"p{number}", at))
        for session in bench.trace(events, at).sessions:
            ours.append((f"p{number}", session.started_at, session.ended_at, session.events))
    beam_tells(shown, ours)
