"""The same examples each time, unless more are asked for: then at random, and so many times as many."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

SERVICES = Path(__file__).parent / "services"
CONFTEST = """
import property_tests

property_tests.load_profile()

def pytest_collection_modifyitems(items):
    property_tests.multiply(items, property_tests.TIMES)
"""
TESTS = """
from hypothesis import given, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, rule

@settings(max_examples=7)
@given(n=strategies.integers())
def test_property(n):
    print(f"example {n};")

class Machine(RuleBasedStateMachine):
    @rule()
    def step(self):
        pass

    def teardown(self):
        print("machine;")

TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=3, stateful_step_count=2)
"""


def run(folder: Path, **environment: str) -> tuple[list[str], int]:
    """The examples of a property test, and how many a state machine took, where conftest does what ours does."""
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (folder / "test_it.py").write_text(TESTS, encoding="utf-8")
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("WAYLINE_", "PYTEST_"))}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "_hypothesis_pytestplugin",
            "-p",
            "no:cacheprovider",
            "-sq",
            "test_it.py",
        ],
        cwd=folder,
        env={**plain, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(SERVICES), **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return re.findall(r"example (-?\d+);", done.stdout), done.stdout.count("machine;")


def test_a_run_takes_the_examples_of_the_run_before_and_an_exploration_others_and_more(tmp_path: Path) -> None:
    first, second = run(tmp_path), run(tmp_path)
    assert first == second
    assert (len(first[0]), first[1]) == (7, 3)
    examples, machines = run(tmp_path, WAYLINE_EXAMPLES="5")
    assert (len(examples), machines) == (35, 15)
    assert examples[:7] != first[0]
