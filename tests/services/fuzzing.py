"""How much fuzz tests try: as much as a test suite has time for, and WAYLINE_FUZZ times as much in ``make fuzz``."""

from __future__ import annotations

import os

TIMES = int(os.environ.get("WAYLINE_FUZZ", "1"))
