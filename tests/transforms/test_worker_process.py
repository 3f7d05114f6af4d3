"""What a worker sets for its process."""

from __future__ import annotations

import inspect

from apache_beam.runners.worker import statesampler
from apache_beam.runners.worker.statesampler import StateSampler
from apache_beam.utils.counters import CounterFactory

from transforms.worker_process import SAMPLING_MS, sample_often


def test_a_bundle_waits_at_its_end_no_longer_than_a_short_period_of_its_sampler() -> None:
    sample_often()
    assert StateSampler("a bundle", CounterFactory()).sampling_period_ms == SAMPLING_MS


def test_the_period_is_still_the_one_thing_about_a_sampler_that_beam_has_a_default_for() -> None:
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(StateSampler.__init__).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    assert list(defaults) == ["sampling_period_ms"]


def test_beam_itself_would_wait_for_longer() -> None:
    """Or else there is nothing to set any more."""
    assert statesampler.DEFAULT_SAMPLING_PERIOD_MS > SAMPLING_MS
