"""The features of a person, told: values now, and one feature over time.

Input: ``FeaturesNow`` or ``FeatureHistory``. Output: rich renderables. Errors, state: none.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from rich.console import RenderableType
from rich.text import Text

from features.documentation import window
from features.journey_features import declaration_hash
from reports.feature_plot import text_plot
from reports.feature_rows import FeatureHistory, FeaturesNow, Provenance
from reports.rendering import grid, heading, indented, length, newest, number, plural, second, shortened, text


def tell_now(found: FeaturesNow, now: datetime) -> Iterator[RenderableType]:
    """The values of a person, what they say, and what they were made of.

    Args:
        found: what to tell.
        now: the time to which the age is counted.
    """
    reading = found.reading
    yield text(f"Features of {found.person_id}", "bold")
    if found.asked:
        yield indented(text(found.asked, "dim"))
    facts = [("evaluation point", f"{second(reading.at)} UTC"), ("age now", length(now - reading.at))]
    if found.horizon is not None:
        facts.append(("age at the horizon", f"{length(found.horizon - reading.at)} ({second(found.horizon)} UTC)"))
    final = "final but for identity" if reading.is_final else "a late event may still change it"
    facts += [
        ("known since", f"{second(reading.created)} UTC"),
        ("revision", f"{reading.revision}, {final}"),
        ("made of", made_of(reading.made)),
        ("computed by", computed_by(reading.made)),
        ("shown as", f"{found.version}; declaration in force {declaration_hash()}"),
    ]
    yield indented(grid(("", ""), [(text(name, "dim"), text(value)) for name, value in facts]))
    yield from heading("Values")
    rows = []
    for feature in found.features:
        value = reading.values[feature.name]
        shown = "not in the row" if value is None else number(value)
        rows.append((text(feature.name), shown, feature.kind, window(feature), text(feature.description)))
    yield indented(grid(("feature", ">value", "kind", "window", "what it says"), rows))


def tell_history(found: FeatureHistory, limit: int) -> Iterator[RenderableType]:
    """A feature over event time: the plot, then the newest values; ``limit`` 0 shows all."""
    feature = found.feature
    yield text(f"{feature.name} of {found.person_id}", "bold")
    if found.asked:
        yield indented(text(found.asked, "dim"))
    yield indented(text(f"{feature.description} ({feature.kind}, window {window(feature)}, since v{feature.since})"))
    yield Text()
    yield indented(Text("\n".join(text_plot(found.points)), no_wrap=True))
    yield from heading("Values")
    rows = []
    for reading in newest(found.readings, limit):
        value = reading.values[feature.name]
        shown = "" if value is None else number(value)
        rows.append((second(reading.at), shown, f"{reading.revision}", text(made_of(reading.made))))
    yield indented(grid(("evaluation point", ">value", ">revision", "made of"), rows))
    yield from shortened(len(rows), len(found.readings), "values")
    if found.lacking:
        told = f"{plural(found.lacking, 'row')} of an earlier version without this feature left out"
        yield indented(Text(told, style="dim italic"))


def made_of(made: Provenance) -> str:
    """Which events made a row, in words."""
    if made.event_id is None:
        return "no event that is still in the tables"
    how = "at" if made.on_event else "by time alone, after"
    name = made.event_name or "an event that is gone,"
    told = f"{plural(made.events, 'event')}, {how if made.event_name else 'the last'} {name} {made.event_id}"
    return told if made.agrees else f"{told}; the events changed since it was written"


def computed_by(made: Provenance) -> str:
    """Which version of features and code made a row, in words."""
    version = made.version or "no whole version of the features"
    return f"{version}, Wayline {made.code}" if made.code else f"{version}; which code is not in the row"
