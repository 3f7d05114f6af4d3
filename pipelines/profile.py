"""Where a run's time went, by stage: what the runner sampled, and what the journey stage counted of itself.

Beam's local runner looks every fifth of a second which transform of a bundle is at work, so a stage's figure is exact
to some tenths of a second. A sample tells time, not CPU; it is turned into CPU by the share of its time in which the
journey stage, the longest, had the CPU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from transforms.journey.stage import ELAPSED, PROFILE
from transforms.journey.worker import STEPS

STAGES: dict[str, tuple[str, ...]] = {
    "read": ("Read", "Stored"),
    "validate": ("Validate",),
    "protect": ("Protect",),
    "link": ("AllEvents", "AllLinks", "Link", "Horizon", "AsOf"),
    "strand": ("Strand",),
    "journey": ("Journey",),
    "act": ("Act",),
    "learn": ("Learn",),
    "tables": (
        "Tables", "IdentityRows", "ActionRows", "LabelRows", "DeadLetterRows", "WithdrawnRows", "ExpiredRows", "Log",
        "Erased", "Online",
    ),
}  # fmt: skip
"""Stage to the first words of its transforms' labels; all others are ``rest``."""

REST = "rest"
_SAMPLED = "beam:metric:ptransform_execution_time:total_msecs:v1"


def profile(result: Any) -> dict[str, int]:
    """CPU microseconds by stage, and by step of the journey stage as ``journey.STEP``.

    Args:
        result: of a finished pipeline. One whose runner samples nothing gives an empty profile.
    """
    infos = getattr(result, "monitoring_infos", None)
    if infos is None:
        return {}
    sampled = _by_stage(infos())
    steps = _journey_steps(result)
    elapsed = steps.pop(ELAPSED, 0)
    share = min(1.0, sum(steps.values()) / elapsed) if elapsed else 1.0
    found = {stage: round(time * share) for stage, time in sampled.items()}
    return found | {f"{PROFILE.rpartition('.')[2]}.{step}": steps[step] for step in STEPS if step in steps}


def _by_stage(infos: Iterable[Any]) -> dict[str, int]:
    from apache_beam.metrics.monitoring_infos import extract_counter_value

    stage_of = {word: stage for stage, words in STAGES.items() for word in words}
    times: Counter[str] = Counter()
    for info in infos:
        if info.urn == _SAMPLED:
            word = info.labels["PTRANSFORM"].partition("/")[0]
            times[stage_of.get(word, REST)] += 1_000 * extract_counter_value(info)
    return {stage: times[stage] for stage in (*STAGES, REST) if stage in times}


def _journey_steps(result: Any) -> dict[str, int]:
    from apache_beam.metrics import MetricsFilter

    counters = result.metrics().query(MetricsFilter().with_namespace(PROFILE))["counters"]
    return {counter.key.metric.name: int(counter.committed or counter.attempted or 0) for counter in counters}
