"""Python's cycle collector, set for workers that hold many small objects for a short time. No Beam.

A fold holds a hundred thousand objects at once and drops them without cycles. The collector's defaults walk through
them all again and again, for a tenth of the CPU time of a run.
"""

from __future__ import annotations

import gc

_YOUNG, _MIDDLE, _OLD = 200_000, 20, 100


def relax_collector() -> None:
    """Collect now, and less often from now on. Called in a worker's setup; once in a process is enough."""
    if gc.get_threshold()[0] < _YOUNG:
        gc.collect()
        gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
