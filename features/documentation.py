"""``docs/features.md``, written from the declaration."""

from __future__ import annotations

from contracts.event import DAY
from features import names
from features.journey_features import FEATURE_VERSION, FEATURES, Feature
from features.state import GROUPS, TOTALS

_HEAD = f"""# Features

Written by `wayline features list --markdown` from `features/journey_features.py`; a test keeps both equal.

The vector of a journey at a moment, version `{FEATURE_VERSION}`. Stream, backfill and training compute it with the same
function. Every feature is a float64 and never null. A window of length w at a moment t holds the events with
t − w < time ≤ t, in event time. *Activity* is what the customer did; what only happened to them (a mail was delivered,
a lead was accepted) counts among "all events" alone. Nothing is derived from the stage.

In Feast: entity `{names.ENTITY}` (join key `{names.JOIN_KEY}`), feature view `{names.VIEW}`, feature services
`{names.MODEL_SERVICE}` (what the classifier reads) and `{names.JOURNEY_SERVICE}` (everything).
"""


def markdown() -> str:
    """The whole page."""
    lines = [
        _HEAD,
        "| feature | kind | window | default | classifier | owner | what it says |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{f.name}` | {f.kind} | {window(f)} | {f.default:g} | {'yes' if f.model_input else 'no'} | {f.owner}"
        f" | {f.description} |"
        for f in FEATURES
    ]
    lines += ["", "## Which behaviours count where", "", "| group | behaviours of the ontology |", "|---|---|"]
    lines += [f"| {group} | {', '.join(members)} |" for group, members in (GROUPS | TOTALS).items()]
    return "\n".join(lines) + "\n"


def window(feature: Feature) -> str:
    """The window in days, or ``journey``."""
    return "journey" if feature.window is None else f"{feature.window // DAY} d"
