"""The journey features: what they are, and the one pure function that computes them.

Stream, backfill and training set all call ``FeatureState.observe`` for the events of a journey in (event time,
event_id) order, and ``vector`` at an evaluation point. ``FEATURES`` declares each feature once; the Feast repository,
the table columns and ``docs/features.md`` are made from it.

Nothing here looks at the stage: a classifier fed with its own answers would only confirm them. Features refer to
*behaviours* of the ontology, never to event names, so a renamed event changes the ontology alone.

Time domain: event time, UTC microseconds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from operator import itemgetter

from contracts.errors import ModelError
from contracts.event import DAY
from contracts.tables import REAL
from features import values
from features.declaration import ACTIVITY, BEHAVIOUR, BOUNDS, SESSION, SHOWN, TIME, Feature, count, made
from features.provenance import PROVENANCE
from features.state import GROUPS, MONTH, TOTALS, WEEK, FeatureState

__all__ = [
    "BOUNDS",
    "FEATURES",
    "FEATURE_NAMES",
    "FEATURE_VERSION",
    "MODEL_INPUTS",
    "MODEL_INPUT_NAMES",
    "STAGE_DERIVED",
    "VERSIONS",
    "Feature",
    "FeatureState",
    "declaration_hash",
    "feature_columns",
    "model_inputs",
    "named",
    "refuse_as_inputs",
    "vector",
]

FEATURE_VERSION = "journey:v2"
"""Changes whenever a vector could differ for the same events; models name the version they were trained on."""

FEATURES: tuple[Feature, ...] = (
    count("events_1d", "activity", DAY, "Activity in the last day.", "growth"),
    count("events_7d", "activity", WEEK, "Activity in the last 7 days.", "growth"),
    count("events_30d", "activity", MONTH, "Activity in the last 30 days.", "growth"),
    count("sessions_7d", "session", WEEK, "Sessions begun in the last 7 days.", "growth"),
    made(
        "active_days_30d",
        "count",
        "UTC days with activity, of the last 30.",
        "growth",
        window=MONTH,
        fields=ACTIVITY,
    ),
    made(
        "trend_7d_30d",
        "ratio",
        "Daily activity of 7 days over that of 30; 1: steady.",
        "growth",
        window=MONTH,
        fields=ACTIVITY,
    ),
    made(
        "days_since_first",
        "days",
        "Days since the first event.",
        "growth",
        fields=TIME,
    ),
    made(
        "days_since_activity",
        "days",
        "Days since the last activity, at most 60; 60 when there was none.",
        "growth",
        default=values.ACTIVITY_CAP_DAYS,
        fields=ACTIVITY,
    ),
    made(
        "session_events",
        "count",
        "Activity in the latest session so far.",
        "product",
        fields=SESSION,
    ),
    count("research_7d", "research", WEEK, "Content, categories and searches, 7 days.", "content"),
    count("ads_30d", "ad", MONTH, "Advertisements seen and clicked, 30 days.", "ads"),
    count("product_views_7d", "product", WEEK, "Looks at products and reviews, 7 days.", "product"),
    count("comparisons_30d", "comparison", MONTH, "Comparisons made, 30 days.", "product"),
    count("pricing_views_30d", "pricing", MONTH, "Looks at prices, 30 days.", "sales"),
    count("cart_7d", "cart", WEEK, "Cart events, 7 days.", "sales"),
    count("checkout_30d", "checkout", MONTH, "Checkout and payment steps, 30 days.", "sales"),
    count("contacts_30d", "contact", MONTH, "Forms, sales talks and store visits, 30 days.", "sales"),
    made(
        "conversions",
        "count",
        "Conversions and renewals ever.",
        "sales",
        fields=SHOWN,
    ),
    made(
        "days_since_conversion",
        "days",
        "Days since the last conversion or renewal, at most 365; 365 when there was none.",
        "sales",
        default=values.CONVERSION_CAP_DAYS,
        fields=BEHAVIOUR,
    ),
    count("usage_30d", "usage", MONTH, "Use of what was bought and of the account, 30 days.", "success"),
    count("support_30d", "support", MONTH, "Support contacts, 30 days.", "success"),
    made(
        "email_response_30d",
        "share",
        "Opens and clicks among all e-mail events, 30 days.",
        "email",
        window=MONTH,
        fields=(*BEHAVIOUR, "channel"),
    ),
    made(
        "email_share_30d",
        "share",
        "E-mail among all events, 30 days.",
        "email",
        window=MONTH,
        fields=("channel", *TIME),
    ),
    made(
        "human_share_30d",
        "share",
        "Calls and store among all events, 30 days.",
        "sales",
        window=MONTH,
        fields=("channel", *TIME),
    ),
    made(
        "hand_held_share",
        "share",
        "Activity on phone or tablet, whole journey.",
        "product",
        fields=("name", "device_class"),
    ),
    made(
        "hour_regularity",
        "share",
        "1: always at one hour (UTC) of the day; 0: at any.",
        "growth",
        fields=ACTIVITY,
    ),
    made(
        "known",
        "flag",
        "1 once a login or a view of the account was seen.",
        "identity",
        fields=SHOWN,
    ),
    made(
        "trouble",
        "count",
        "Refunds, complaints and opt-outs ever.",
        "success",
        model_input=False,
        fields=SHOWN,
    ),
    made(
        "conversion_value",
        "amount",
        "Sum of the stated values of conversions, in the currency of the source.",
        "sales",
        model_input=False,
        fields=(*SHOWN, "properties"),
    ),
    count("sessions_30d", "session", MONTH, "Sessions begun in the last 30 days.", "growth", since=2),
    made(
        "events_per_session_30d",
        "ratio",
        "Activity for each session, 30 days.",
        "growth",
        window=MONTH,
        since=2,
        fields=SESSION,
    ),
    made(
        "session_minutes",
        "minutes",
        "Minutes from the first to the last activity of the latest session.",
        "product",
        since=2,
        fields=SESSION,
    ),
    made(
        "minutes_per_session",
        "minutes",
        "Mean minutes from first to last activity of a session, all sessions.",
        "product",
        since=2,
        fields=SESSION,
    ),
    made(
        "single_event_share",
        "share",
        "Sessions of one activity among those before the latest.",
        "product",
        since=2,
        fields=SESSION,
    ),
    made(
        "session_kinds",
        "count",
        "Depth: kinds of interest (research to checkout, 7) in the latest session.",
        "product",
        since=2,
        fields=(*SESSION, "context.path"),
    ),
    made(
        "days_between_sessions",
        "days",
        "Mean days from one session's begin to the next.",
        "growth",
        since=2,
        fields=SESSION,
    ),
    count("content_views_7d", "content", WEEK, "Articles, videos and pages of content, 7 days.", "content", since=2),
    count("searches_7d", "search", WEEK, "Searches, 7 days.", "content", since=2),
    count("product_views_30d", "product", MONTH, "Looks at products and reviews, 30 days.", "product", since=2),
    made(
        "product_trend_7d_30d",
        "ratio",
        "Daily looks at products of 7 days over those of 30; 1: steady.",
        "product",
        window=MONTH,
        since=2,
        fields=BEHAVIOUR,
    ),
    count("pricing_views_7d", "pricing", WEEK, "Looks at prices, 7 days.", "sales", since=2),
    count(
        "pricing_returns_30d",
        "pricing_return",
        MONTH,
        "Looks at prices in a later session than the look before, 30 days.",
        "sales",
        since=2,
    ),
    made(
        "days_since_pricing",
        "days",
        "Days since prices were last looked at, at most 60; 60 when never.",
        "sales",
        default=values.ACTIVITY_CAP_DAYS,
        since=2,
        fields=BEHAVIOUR,
    ),
    made(
        "carts_since_conversion",
        "count",
        "Cart events since the last conversion or renewal.",
        "sales",
        since=2,
        fields=BEHAVIOUR,
    ),
    count("email_events_30d", "email_touch", MONTH, "E-mail events, 30 days.", "email", since=2),
    count("email_clicks_30d", "email_click", MONTH, "Clicks in e-mails, 30 days.", "email", since=2),
    made(
        "days_since_email_response",
        "days",
        "Days since an e-mail was last opened or clicked, at most 60; 60 when never.",
        "email",
        default=values.ACTIVITY_CAP_DAYS,
        since=2,
        fields=BEHAVIOUR,
    ),
    count("human_touches_30d", "human_touch", MONTH, "Calls and store events, 30 days.", "sales", since=2),
    made(
        "device_classes",
        "count",
        "Classes of device ever used.",
        "product",
        since=2,
        fields=("name", "device_class"),
    ),
    count(
        "device_switches_30d",
        "device_switch",
        MONTH,
        "Activity on another class of device than the activity before, 30 days.",
        "product",
        since=2,
    ),
    count(
        "trouble_30d",
        "trouble_shown",
        MONTH,
        "Refunds, complaints and opt-outs, 30 days.",
        "success",
        model_input=False,
        since=2,
    ),
    made(
        "consent_share",
        "share",
        "Purposes granted by the latest event that states consent, among those it names.",
        "privacy",
        model_input=False,
        since=2,
        fields=("consent", *TIME),
    ),
    made(
        "days_since_refusal",
        "days",
        "Days since an event last refused a purpose, at most 365; 365 when none did.",
        "privacy",
        default=values.CONVERSION_CAP_DAYS,
        model_input=False,
        since=2,
        fields=("consent", *TIME),
    ),
)
"""Every feature, in the order of the vector. Additions go to the end and change ``FEATURE_VERSION``."""

FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)

VERSIONS: dict[str, tuple[Feature, ...]] = {
    "journey:v1": tuple(feature for feature in FEATURES if feature.since <= 1),
    FEATURE_VERSION: FEATURES,
}
"""Every version that is served, oldest first, and its features. They stand side by side: a version keeps the meaning of
the features of the one before, so a model of an older version finds its inputs in the newest vector by name. A feature
whose meaning changes gets a new name; a version that cannot be served any more is taken out here."""

MODEL_INPUTS: tuple[int, ...] = tuple(index for index, feature in enumerate(FEATURES) if feature.model_input)
"""Indices into the vector of what the stage classifier reads, in this order."""

MODEL_INPUT_NAMES: tuple[str, ...] = tuple(FEATURE_NAMES[index] for index in MODEL_INPUTS)


def model_inputs(version: str) -> tuple[str, ...]:
    """What the stage classifier of a served version reads, in order. Raises KeyError for any other version."""
    return tuple(feature.name for feature in VERSIONS[version] if feature.model_input)


STAGE_DERIVED: dict[str, str] = {
    "days_in_stage": "Whole days since the stage was entered.",
    "stage_moves_30d": "Moves from one stage to another, 30 days.",
    "stage_returns_30d": "Those of them that went back to an earlier stage.",
}
"""What policies see of the stage beside the features: name to meaning. Policy-only: a classifier that reads its own
answers would only confirm them, so these are no part of a vector, and training and bundles refuse them by name."""


def refuse_as_inputs(names: Collection[str]) -> None:
    """Raise ModelError when one of the names is policy-only: derived from the stage, or declared so."""
    barred = {feature.name for feature in FEATURES if not feature.model_input} | set(STAGE_DERIVED)
    for name in names:
        if name in barred or name == "stage":
            why = "is policy-only" if name in FEATURE_NAMES else "is derived from the stage"
            raise ModelError(
                f"feature {name!r} {why}: no model may read it", hint="take it out of the model's inputs, and train"
            )


_in_order = itemgetter(*(feature.value for feature in FEATURES))


def vector(state: FeatureState, at: int) -> tuple[float, ...]:
    """The features of a journey as of a moment, in the order of ``FEATURES``.

    Pure: the same events and moment give the same vector, whatever was asked before.

    Args:
        state: the journey's events up to ``at``, observed.
        at: evaluation point, UTC microseconds of event time, not before the last observed event.

    Raises:
        ValueError: an event after ``at`` has been observed.
    """
    counts = state.advance(at)
    found: tuple[float, ...] = _in_order((*counts, *values.made_values(state, counts, at)))
    return found


def named(found: Sequence[float]) -> dict[str, float]:
    """A vector by feature name. Raises ValueError when its length is not that of the declaration."""
    return dict(zip(FEATURE_NAMES, found, strict=True))


def feature_columns() -> tuple[tuple[str, str, str], ...]:
    """(name, kind, doc) of each feature and of what made them, as ``contracts.tables.feature_tables`` takes them."""
    return (*((feature.name, REAL, feature.description) for feature in FEATURES), *PROVENANCE)


def declaration_hash() -> str:
    """16 hex digits over version and declaration: equal hashes mean vectors of the same meaning."""
    stated = [
        FEATURE_VERSION,
        [[f.name, f.kind, f.description, f.owner, f.window, f.default, f.model_input, f.since] for f in FEATURES],
        list(GROUPS.items()),
        list(TOTALS.items()),
    ]
    return hashlib.blake2b(json.dumps(stated).encode(), digest_size=8).hexdigest()
