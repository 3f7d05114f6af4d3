"""A worker's process, set for what it does here; called in a worker's setup, once in a process is enough.

Beam samples every 200 ms what a bundle is at, and the thread that does so sleeps when the bundle ends: the bundle waits
for it, 2 ms at first and a tenth of its own duration later, with nothing to do. The period is an argument of Beam's
sampler that no option reaches (Beam pull request 5466 has the ramp), so its default is set. A sampler keeps the period
that it was made with, so workers that we start set it before anything else; one that an engine starts (on a cluster, on
Dataflow) sets it with its first setup, and what it made before waits as Beam has it.
"""

from __future__ import annotations

from apache_beam.runners.worker.statesampler import StateSampler

from transforms.collector import relax_collector

SAMPLING_MS = 5
"""Milliseconds between two looks at a bundle; one costs some microseconds."""


def prepare_worker() -> None:
    """Set the cycle collector and Beam's sampler of states."""
    relax_collector()
    sample_often()


def sample_often() -> None:
    """Let samplers that are made from now on end within ``SAMPLING_MS``."""
    StateSampler.__init__.__defaults__ = (SAMPLING_MS,)
