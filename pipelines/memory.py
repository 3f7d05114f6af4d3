"""The C library's memory, set for a run or stream: what one stage frees, the next can use, or the system gets back.

Beam serves each bundle on a thread of its own choice, and glibc gives threads separate heaps: memory freed by one stage
lies idle while the next grows another heap. One heap for all threads saves a third of a worker's memory and costs
nothing, since Python's threads take turns anyway. Elsewhere than on glibc nothing is changed. Workers that another
starts are told by whoever starts them: infra/flink/Dockerfile.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import MutableMapping

SETTINGS: dict[str, tuple[int, int]] = {
    "MALLOC_ARENA_MAX": (-8, 1),
    "MALLOC_MMAP_THRESHOLD_": (-3, 1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": (-1, 16 * 1024 * 1024),
}
"""Environment variable, by which worker processes are told, to (parameter of ``mallopt``, value), for this one."""


def share_memory(environment: MutableMapping[str, str] | None = None) -> None:
    """Set this process, and those it starts from now on; what the user set stays."""
    target = os.environ if environment is None else environment
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    for name, (parameter, value) in SETTINGS.items():
        if name not in target:
            target[name] = str(value)
            if mallopt is not None:
                mallopt(parameter, value)
