"""What the tests of this folder share: ``written`` is importable, and no test waits for the disk."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests end processes, not the power."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
