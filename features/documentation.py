"""``docs/features.md``, written from the declaration."""

from __future__ import annotations

from contracts.event import DAY
from features import names
from features.declaration import SESSION
from features.journey_features import FEATURE_VERSION, FEATURES, STAGE_DERIVED, VERSIONS, Feature
from features.state import GROUPS, TOTALS

_HEAD = f"""# Features

Written by `wayline features list --markdown` from `features/journey_features.py`; a test keeps both equal.

The vector of a journey at a moment, version `{FEATURE_VERSION}`. Stream, backfill and training compute it with the same
function. Every feature is a float64 and never null. A window of length w at a moment t holds the events with
t − w < time ≤ t, in event time. *Activity* is what the customer did; what only happened to them (a mail was delivered,
a lead was accepted) counts among "all events" alone. Nothing is derived from the stage.

*Source fields* are the fields of events that a feature is computed from; a test changes every other field and sees
that the feature stays, and each of these and sees that it moves. `name` tells activities and behaviours, and of page
events `context.path` tells behaviours too. *sessions* stands for `name`, `event_time`, `tracker_session_id` and
`context.campaign`, which is all fields of the campaign: what may begin a session. Which of them do, the
[rule of sessions](sessions.md) says.

In Feast: entity `{names.ENTITY}` (join key `{names.JOIN_KEY}`), and for each version a feature view and two services.
Versions stand side by side: a new one adds features at the end and keeps the older ones as they are, so a model of an
older version goes on while it is in force, with the inputs that it names.

| version | features | view | what the classifier reads | everything |
|---|---|---|---|---|
{{versions}}

No model reads what is derived from the stage: {{derived}} are facts for
[policies](policies.md) alone. Training refuses it, and so does loading a model. Features marked "no" under *classifier*
are refused in the same way.

`wayline features show PERSON --out OUT [--version journey:v1]` shows the newest row of a person: values, meaning, age
now and at the horizon, revision, and what made it.
`wayline features history PERSON NAME --out OUT [--picture FILE.svg]` shows one feature at every evaluation point, as a
plot and as values. PERSON is a person, an alias, a session, a strand, or `namespace:value`.

Each row says what made it: the number of events (`made_of`), the last of them, a checksum over their ids in order, the
version of the features and that of Wayline ([tables](tables.md#features)). Its events are the person's first so many,
by event time and id. When the person's events of today at its instant and before have another checksum, or another
latest received time than the row's `created`, they changed since the row was written (late, erased, or another
person's by now), and the commands say so. A row of before rows said this has nulls there: its events are then those of
today, and its version the newest one whose features it has all. The version of Wayline is that of the package, so the
same input and code give the same rows again; with another version every row is stated anew.
"""


def markdown() -> str:
    """The whole page."""
    versions = "\n".join(
        f"| `{version}` | {len(features)} | `{names.view_of(version)}` | `{names.services_of(version)[0]}`"
        f" | `{names.services_of(version)[1]}` |"
        for version, features in VERSIONS.items()
    )
    derived = ", ".join(f"`{name}`" for name in STAGE_DERIVED)
    lines = [
        _HEAD.format(versions=versions, derived=derived),
        "| feature | since | kind | window | default | classifier | owner | source fields | what it says |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{f.name}` | v{f.since} | {f.kind} | {window(f)} | {f.default:g}"
        f" | {'yes' if f.model_input else 'no'} | {f.owner} | {fields(f)} | {f.description} |"
        for f in FEATURES
    ]
    lines += ["", "## Which behaviours count where", "", "| group | behaviours of the ontology |", "|---|---|"]
    lines += [f"| {group} | {', '.join(members)} |" for group, members in (GROUPS | TOTALS).items()]
    return "\n".join(lines) + "\n"


def window(feature: Feature) -> str:
    """The window in days, or ``journey``."""
    return "journey" if feature.window is None else f"{feature.window // DAY} d"


def fields(feature: Feature) -> str:
    """The source fields, in the words of the page."""
    whole = set(SESSION) <= set(feature.fields)
    own = [f"`{name}`" for name in feature.fields if not whole or name not in SESSION]
    return ", ".join([*(["sessions"] if whole else []), *own])
