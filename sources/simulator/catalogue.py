"""What can happen in the world: event names, how each true stage shows itself, pages, campaigns, and what actions do.

Numbers are probabilities or rates a day unless said otherwise. Rows of tables are the true stages, in order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sources.simulator import avro
from sources.simulator.avro import Table

Floats = NDArray[np.float64]

STAGES = ("discovery", "consideration", "decision", "customer")
DISCOVERY, CONSIDERATION, DECISION, CUSTOMER = range(4)

# --- event names -------------------------------------------------------------------------------------------------

NAMES = (
    "home_view",
    "blog_view",
    "category_view",
    "product_view",
    "search",
    "review_view",
    "comparison_view",
    "pricing_view",
    "faq_view",
    "add_to_cart",
    "remove_from_cart",
    "cart_view",
    "checkout_start",
    "payment_start",
    "purchase",
    "signup",
    "login",
    "logout",
    "form_submit",
    "demo_request",
    "quote_request",
    "support_ticket",
    "support_call",
    "sales_call",
    "store_visit",
    "store_purchase",
    "email_delivered",
    "email_opened",
    "email_clicked",
    "email_bounced",
    "email_unsubscribed",
    "email_complained",
    "ad_impression",
    "ad_click",
    "app_open",
    "account_view",
    "feature_used",
    "review_written",
    "renewal",
    "refund",
    "crm_lead_created",
    "lead_accepted",
    "lead_rejected",
    "consent_changed",
    "erasure_requested",
    "action_logged",
)
CODE = {name: code for code, name in enumerate(NAMES)}
EMPTY_NAME = len(NAMES)
"""Code of the empty name: only malformed events have it."""

CHANNELS = ("web", "app", "email", "ads", "call", "store", "crm", "other")
SOURCES = ("web", "app", "esp", "adserver", "callcentre", "pos", "crm", "experiment", "kiosk")

_FIXED = {
    "email": ("esp", ("email_delivered", "email_opened", "email_clicked", "email_bounced", "email_unsubscribed")),
    "ads": ("adserver", ("ad_impression", "ad_click")),
    "call": ("callcentre", ("support_call", "sales_call")),
    "store": ("pos", ("store_visit", "store_purchase")),
    "crm": ("crm", ("crm_lead_created", "lead_accepted", "lead_rejected", "renewal", "refund")),
    "other": ("experiment", ("action_logged",)),
}
FIXED_CHANNEL = np.full(len(NAMES) + 1, -1, dtype=np.int64)
FIXED_SOURCE = np.full(len(NAMES) + 1, -1, dtype=np.int64)
for _channel, (_source, _names) in _FIXED.items():
    for _name in (*_names, "email_complained") if _channel == "email" else _names:
        FIXED_CHANNEL[CODE[_name]] = CHANNELS.index(_channel)
        FIXED_SOURCE[CODE[_name]] = SOURCES.index(_source)

# --- how stages behave -------------------------------------------------------------------------------------------

SESSION_RATE = np.array([0.24, 0.42, 0.55, 0.26])
SESSION_LENGTH = np.array([0.30, 0.38, 0.45, 0.30])
"""A session has 3 + Binomial(9, this) events."""
LOGIN = np.array([0.12, 0.30, 0.50, 0.80])
AD_IMPRESSIONS = np.array([0.45, 0.40, 0.30, 0.05])
AD_ENTRY = np.array([0.15, 0.10, 0.05, 0.01])
EMAIL_OPEN = np.array([0.12, 0.30, 0.40, 0.35])
EMAIL_CLICK = np.array([0.02, 0.08, 0.13, 0.06])
SUPPORT_CALLS = np.array([0.001, 0.002, 0.004, 0.020])
SALES_CALLS = np.array([0.0, 0.004, 0.060, 0.002])
STORE_VISITS = np.array([0.004, 0.010, 0.025, 0.012])
RENEWALS = np.array([0.0, 0.0, 0.0, 0.02])
LEAD_ACCEPTED = np.array([0.05, 0.22, 0.68, 0.40])
HOURS = np.array([1, 1, 1, 1, 1, 2, 4, 6, 8, 9, 9, 9, 10, 10, 9, 9, 9, 10, 11, 12, 12, 10, 6, 3]) / 12.0
"""How active people are in each hour of their day, relative to the busiest."""

_MIX: dict[str, tuple[float, float, float, float]] = {
    "home_view": (16, 6, 3, 8),
    "blog_view": (32, 6, 1, 4),
    "category_view": (21, 10, 3, 5),
    "search": (12, 9, 4, 4),
    "product_view": (9, 26, 14, 8),
    "review_view": (1, 17, 4, 1),
    "comparison_view": (0.5, 14, 4, 0.5),
    "pricing_view": (0.5, 3, 21, 1.5),
    "faq_view": (3, 4, 5, 5),
    "add_to_cart": (0.2, 0.8, 13, 2),
    "remove_from_cart": (0.1, 0.3, 3, 0.3),
    "cart_view": (0.1, 0.6, 10, 1.5),
    "checkout_start": (0, 0.1, 5, 0.5),
    "payment_start": (0, 0, 2, 0.2),
    "form_submit": (0.3, 1.2, 2, 0.3),
    "demo_request": (0, 0.1, 1.8, 0),
    "quote_request": (0, 0.1, 1.8, 0),
    "account_view": (0.5, 1, 2, 23),
    "feature_used": (0, 0, 0.3, 30),
    "review_written": (0, 0, 0, 2.5),
    "support_ticket": (0.1, 0.1, 0.5, 4),
}
_DRIFTED = {
    "pricing_view": (0.7, 8, 8, 1.5),
    "cart_view": (0.2, 0.8, 4, 1.5),
    "add_to_cart": (0.5, 4, 7, 2),
    "faq_view": (3, 6, 16, 5),
    "support_ticket": (0.3, 1, 7, 9),
    "blog_view": (18, 16, 4, 8),
    "feature_used": (0, 2, 3, 18),
    "comparison_view": (3, 6, 11, 0.5),
}
"""Rows that replace those of ``_MIX`` from the drift on: people read and ask before they buy, and carts say less."""


def name_tables(noise: float) -> Floats:
    """Cumulative probability of each name: [before or after drift][stage][name]."""
    tables = np.zeros((2, len(STAGES), len(NAMES)))
    for regime, rows in enumerate((_MIX, {**_MIX, **_DRIFTED})):
        for name, weights in rows.items():
            tables[regime, :, CODE[name]] = weights
    tables /= tables.sum(axis=2, keepdims=True)
    mixed = (1 - noise) * tables + noise * tables.mean(axis=1, keepdims=True)
    cumulative: Floats = np.cumsum(mixed, axis=2)
    return cumulative


# --- pages -------------------------------------------------------------------------------------------------------

SITE = "https://shop.example"
_PATHS: dict[str, tuple[str, ...]] = {
    "home_view": ("/",),
    "blog_view": tuple(f"/blog/post-{i}" for i in range(1, 25)),
    "category_view": tuple(f"/category/{name}" for name in ("audio", "photo", "home", "garden", "sport", "office")),
    "product_view": tuple(f"/product/{i}" for i in range(1, 61)),
    "search": ("/search",),
    "review_view": tuple(f"/product/{i}/reviews" for i in range(1, 21)),
    "comparison_view": ("/compare",),
    "pricing_view": ("/pricing", "/pricing/plans", "/pricing/delivery"),
    "faq_view": ("/faq", "/faq/returns", "/faq/payment"),
    "add_to_cart": tuple(f"/product/{i}" for i in range(1, 21)),
    "remove_from_cart": ("/cart",),
    "cart_view": ("/cart",),
    "checkout_start": ("/checkout",),
    "payment_start": ("/checkout/payment",),
    "purchase": ("/checkout/thanks",),
    "signup": ("/account/new",),
    "login": ("/account/login",),
    "logout": ("/account/logout",),
    "form_submit": ("/contact",),
    "demo_request": ("/demo",),
    "quote_request": ("/quote",),
    "support_ticket": ("/support/new",),
    "account_view": ("/account", "/account/orders", "/account/settings"),
    "feature_used": ("/studio", "/studio/library", "/studio/share"),
    "review_written": tuple(f"/product/{i}/reviews/new" for i in range(1, 11)),
    "app_open": ("/",),
    "ad_click": ("/landing/spring", "/landing/new"),
    "consent_changed": ("/account/consent",),
    "erasure_requested": ("/account/erase",),
}
_TRAFFIC: tuple[dict[str, str], ...] = (
    {},
    {"campaign_source": "google", "campaign_medium": "cpc", "campaign_name": "brand"},
    {"campaign_source": "meta", "campaign_medium": "paid-social", "campaign_name": "spring"},
    {"campaign_source": "google", "campaign_medium": "display", "campaign_name": "retargeting"},
    {"campaign_source": "newsletter", "campaign_medium": "email", "campaign_name": "weekly"},
    {"referrer": "https://www.search.example/"},
)
TRAFFIC_NONE, TRAFFIC_ADS, TRAFFIC_EMAIL, TRAFFIC_SEARCH = 0, 1, 4, 5
ADS_VARIANTS = 3


def _contexts() -> tuple[list[dict[str, str] | None], NDArray[np.int64], NDArray[np.int64]]:
    rows: list[dict[str, str] | None] = [None]
    base = np.zeros(len(NAMES) + 1, dtype=np.int64)
    variants = np.zeros(len(NAMES) + 1, dtype=np.int64)
    for name, paths in _PATHS.items():
        base[CODE[name]], variants[CODE[name]] = len(rows), len(paths)
        for path in paths:
            for traffic in _TRAFFIC:
                query = "&".join(
                    f"utm_{key[9:]}={value}" for key, value in traffic.items() if key.startswith("campaign_")
                )
                url = SITE + path + (f"?{query}" if query else "")
                rows.append({"url": url, "path": path, "title": path.strip("/").replace("/", " ") or "home", **traffic})
    return rows, base, variants


_context_rows, _context_base, _context_variants = _contexts()


def context_codes(name: NDArray[np.int64], pick: Floats, traffic: NDArray[np.int64]) -> NDArray[np.int64]:
    """Codes in CONTEXT_TABLE: a page that suits the name, chosen by ``pick`` in [0, 1), reached through ``traffic``."""
    variant = (pick * _context_variants[name]).astype(np.int64)
    return np.where(_context_variants[name] > 0, _context_base[name] + variant * len(_TRAFFIC) + traffic, 0)


# --- consent -----------------------------------------------------------------------------------------------------

PURPOSES = ("analytics", "email", "ads", "push", "sales", "personalisation")
GRANTED = np.array([0.96, 0.82, 0.62, 0.45, 0.55, 0.72])
EMAIL_BIT, ADS_BIT, SALES_BIT = 1 << 1, 1 << 2, 1 << 4
CONSENT_NONE, CONSENT_MASK, CONSENT_BANNER, CONSENT_NO_EMAIL, CONSENT_NO_CONTACT = 0, 1, 65, 67, 68
_consents: list[dict[str, bool]] = [
    {},
    *({purpose: bool(mask >> bit & 1) for bit, purpose in enumerate(PURPOSES)} for mask in range(64)),
    {"analytics": True, "ads": False},
    {"analytics": True, "ads": True},
    {"email": False},
    {"email": False, "ads": False, "sales": False},
]

# --- tables shared by all chunks ---------------------------------------------------------------------------------

PLACES = (
    ("de-DE", "Europe/Berlin", "DE", 1),
    ("en-GB", "Europe/London", "GB", 0),
    ("fr-FR", "Europe/Paris", "FR", 1),
    ("en-US", "America/New_York", "US", -5),
    ("en-US", "America/Los_Angeles", "US", -8),
    ("es-ES", "Europe/Madrid", "ES", 1),
    ("en-IN", "Asia/Kolkata", "IN", 5),
    ("pt-BR", "America/Sao_Paulo", "BR", -3),
)
"""Locale, time zone, country, hours from UTC (for the daily rhythm only)."""
DEVICE_CLASSES = ("desktop", "mobile", "tablet", "kiosk")
NO_DEVICE = len(DEVICE_CLASSES)

NAME_TABLE = Table((*NAMES, ""), avro.text)
CHANNEL_TABLE = Table(CHANNELS, avro.text)
SOURCE_TABLE = Table(SOURCES, avro.text)
CONTEXT_TABLE = Table(_context_rows, avro.context)
CONSENT_TABLE = Table(_consents, avro.flags)
DEVICE_TABLE = Table((*DEVICE_CLASSES, None), avro.optional_text)
PLACE_TABLE = Table([place[:3] for place in PLACES], avro.place)

# --- actions and what they do ------------------------------------------------------------------------------------

PERSONAS = ("sure_thing", "persuadable", "lost_cause", "sleeping_dog")
PERSONA_SHARE = np.array([0.20, 0.35, 0.30, 0.15])
BUYS = np.array([0.78, 0.52, 0.25, 0.60])
"""Probability that a person of each persona leaves the decision stage by buying."""

ARMS: tuple[tuple[str, str, float], ...] = (
    ("nothing", "none", 0.40),
    ("nurture", "email", 0.25),
    ("discount", "email", 0.15),
    ("advisor_call", "call", 0.10),
    ("retargeting", "ads", 0.10),
)
"""Arm, channel, propensity of the logged randomised experiment."""

_UPLIFT: dict[str, tuple[float, float, float, float]] = {
    "email": (0.01, 0.06, 0.16, 0.04),
    "call": (0.00, 0.08, 0.28, 0.05),
    "ads": (0.01, 0.04, 0.08, 0.01),
    "app": (0.01, 0.04, 0.10, 0.04),
    "none": (0.0, 0.0, 0.0, 0.0),
}
_RESPONSIVENESS: dict[str, tuple[float, float, float, float]] = {
    "email": (0.1, 1.6, 0.1, -1.0),
    "call": (0.2, 1.3, 0.3, -1.6),
    "ads": (0.3, 1.4, 0.1, 0.0),
    "app": (0.2, 1.5, 0.1, -0.6),
    "none": (0.0, 0.0, 0.0, 0.0),
}
_DISCOUNT = 1.5

_KINDS: dict[str, str] = {
    "email": "email",
    "call": "call",
    "sales": "call",
    "crm": "call",
    "ads": "ads",
    "none": "none",
}


def action_kind(channel: str) -> str:
    """The kind of action a channel stands for: email, call, ads, none, or app for push and anything on a screen."""
    return _KINDS.get(channel, "app")


def uplift(arm: str, channel: str, stage: int, persona: int) -> float:
    """Change in the probability of a purchase within the week after an action; negative where it puts people off."""
    kind = action_kind(channel)
    effect = _UPLIFT[kind][stage] * _RESPONSIVENESS[kind][persona]
    return effect * _DISCOUNT if "discount" in arm and effect > 0 else effect


def properties_table(values: list[dict[str, Any]]) -> Table:
    """A chunk's table of properties; row 0 is the empty one."""
    return Table([{}, *values], avro.scalars)
