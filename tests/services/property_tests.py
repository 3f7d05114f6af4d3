"""How many examples a property test takes, and which.

A test asks for as many as show its rule in the time that the whole suite has. Each time it takes the same ones, so that
a commit has one verdict; ``WAYLINE_EXAMPLES=N`` makes it N times as many, at random (``make explore``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings

TIMES = int(os.environ.get("WAYLINE_EXAMPLES", "1"))

# how long an example takes says how busy the machine is, not whether a rule holds
_ANY_MACHINE = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("same_each_time", derandomize=True, print_blob=True, **_ANY_MACHINE)
settings.register_profile("explore", derandomize=False, print_blob=True, **_ANY_MACHINE)


def load_profile() -> None:
    """Which examples: called before a test module is imported, since ``@settings`` takes the rest from the profile."""
    settings.load_profile("explore" if TIMES > 1 else "same_each_time")


def multiply(items: Iterable[pytest.Item], times: int) -> None:
    """Let those of the collected tests that are property tests take so many times the examples that they ask for."""
    # parameters share one function
    tests = {item.function: item for item in items if isinstance(item, pytest.Function)} if times != 1 else {}
    for function, item in tests.items():
        test: Any = function
        if not is_hypothesis_test(test):
            continue
        if hasattr(test, "_hypothesis_state_machine_class"):
            machine: Any = item.cls
            machine.settings = _more(machine.settings, times)
        else:
            # where ``@settings`` leaves them; the decorator itself may be applied once only, and most tests have it
            test._hypothesis_internal_use_settings = _more(test._hypothesis_internal_use_settings, times)


class TellAtOnce:
    """A plugin: what fails is told when it fails, not hours later at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write what the end of the run will say of a test, too."""
        if report.failed:
            reporter: Any = self._config.pluginmanager.get_plugin("terminalreporter")
            reporter.write_line(f"\n{report.nodeid}\n{report.longreprtext}")


def _more(asked: settings, times: int) -> settings:
    return settings(asked, max_examples=asked.max_examples * times)
