"""Ctrl-C at a chosen place of a command under test, and nothing else: Python runs this when it starts.

``WAYLINE_STRUCK`` is ``module:function``: when that is called, the process hears SIGINT while DuckDB answers a question
that takes long. Without it nothing is changed.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import ModuleType
from typing import Any


def _struck(*given: Any, **named: Any) -> None:
    import duckdb

    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    duckdb.connect().execute("SELECT sum(hash(range)) FROM range(400000000)")


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, module: str, function: str) -> None:
        self.module, self.function = module, function

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if name != self.module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            setattr(module, self.function, _struck)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


if place := os.environ.get("WAYLINE_STRUCK"):
    sys.meta_path.insert(0, _Finder(*place.split(":")))
    # a shell's background is deaf to Ctrl-C, and hands that on
    signal.signal(signal.SIGINT, signal.default_int_handler)
