"""Where the real data lie that some measurements and tests read: ``../shared/data``, beside the repository, if at all.

They are no part of it. Where they lie elsewhere, the environment's ``WAYLINE_REAL_DATA`` names the folder. Errors,
state: none; whoever needs a file says what is missing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

REAL_DATA: Final = Path(
    os.environ.get("WAYLINE_REAL_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
).absolute()

SHOP_LOG: Final = REAL_DATA / "retentioneering_ecom" / "ecom.csv.gz"
"""An electronics store's log, 31,106 events: retentioneering's sample (Apache-2.0)."""

SHOP_SESSIONS: Final = REAL_DATA / "uci_online_shoppers" / "online_shoppers_intention.csv"
"""12,330 sessions of a shop, with whether they ended in a purchase (UCI, CC BY 4.0)."""

SNOWPLOW: Final = REAL_DATA / "snowplow_two_batches"
"""Snowplow's own test of its sessions: events in two batches, and the page views and sessions they come to."""


def missing(path: Path) -> str | None:
    """Why tests that read this are skipped; None where it is here."""
    return None if path.exists() else f"{path} is not here: the real data lie beside the repository, or nowhere"
