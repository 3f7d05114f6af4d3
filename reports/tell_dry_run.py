"""A trial of identity rules in words, and as plain values. Input: ``Trial``. Output: rich renderables, dictionaries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from reports.dry_run import Side, Trial
from reports.dry_run_effects import Touched
from reports.identity_story import shown
from reports.identity_words import rule_words
from reports.rendering import clean, grid, heading, identifier, indented, plural, text


def tell_trial(trial: Trial, touched: Touched | None, limit: int) -> Iterator[RenderableType]:
    """The whole comparison; ``limit``: most examples a section shows, 0 for all."""
    before, after, found = trial.before, trial.after, trial.difference
    yield Text.assemble(("identity rules ", "bold"), clean(before.rules), (" against ", "dim"), clean(after.rules))
    read = f"{plural(trial.events, 'event')}, {trial.copies:,} copies, {trial.rejected:,} that a run turns away"
    yield text(f"{read}; {trial.damaged:,} damaged parts of files; nothing was written", "dim")
    yield from heading("Before and after")
    yield indented(
        grid(
            ("", ">before", ">after"),
            [
                ("persons with events", f"{before.persons:,}", f"{after.persons:,}"),
                ("identifiers of the largest", _largest(before), _largest(after)),
                ("demoted identifiers", f"{len(before.demoted):,}", f"{len(after.demoted):,}"),
                ("edges that do not hold", _refused(before), _refused(after)),
                ("events without a usable identifier", f"{before.unusable:,}", f"{after.unusable:,}"),
                ("events erased", f"{before.erased:,}", f"{after.erased:,}"),
            ],
            last_wraps=False,
        )
    )
    yield from heading("What changes")
    yield indented(
        text(
            f"{found.same:,} of {plural(found.before, 'person')} keep exactly their events ({found.renamed:,} of them "
            f"under another id); made of several: {len(found.joined):,}; falling apart: {len(found.parted):,}"
        )
    )
    lost = f"; {found.lost:,} become nobody's, {found.gained:,} somebody's" if found.lost or found.gained else ""
    yield indented(
        text(
            f"{found.moved:,} of {plural(trial.events, 'event')} change hands, of {trial.moved_strands:,} of "
            f"{plural(trial.strands, 'strand')}{lost}"
        )
    )
    yield from _examples("Who merges", ((j.person, j.sources) for j in found.joined), len(found.joined), "from", limit)
    yield from _examples("Who splits", ((p.person, p.parts) for p in found.parted), len(found.parted), "to", limit)
    yield from _edges(before, after)
    yield from _persons("Largest persons, by identifiers", before, after)
    yield from _demoted(before, after, limit)
    if touched is not None:
        yield from _touched(touched)


def _largest(side: Side) -> str:
    return f"{side.largest[0][1]:,}" if side.largest else "0"


def _refused(side: Side) -> str:
    return f"{sum(side.refused.values()):,}"


def _examples(
    title: str, found: Iterator[tuple[str, Mapping[str, int]]], of: int, way: str, limit: int
) -> Iterator[RenderableType]:
    if not of:
        return
    yield from heading(title)
    rows = [item for _, item in zip(range(limit or of), found, strict=False)]
    yield indented(
        grid(
            ("person", ">persons", ">events", f"{way}, with their events"),
            [
                (
                    text(person),
                    f"{len(parts):,}",
                    f"{sum(parts.values()):,}",
                    text(_listed(parts, limit)),
                )
                for person, parts in rows
            ],
        )
    )
    if len(rows) < of:
        yield indented(text(f"{of - len(rows):,} more; --limit 0 shows all", "dim italic"))


def _listed(parts: Mapping[str, int], limit: int) -> str:
    items = list(parts.items())
    some = items[: limit or None]
    more = f" and {len(items) - len(some):,} more" if len(some) < len(items) else ""
    return ", ".join(f"{person} ({events:,})" for person, events in some) + more


def _edges(before: Side, after: Side) -> Iterator[RenderableType]:
    kinds = sorted({*before.refused, *after.refused})
    if not kinds:
        return
    yield from heading("Edges that do not hold")
    yield indented(
        grid(
            ("", "rule", ">before", ">after", "because"),
            [
                (
                    text(status),
                    text(rule),
                    f"{before.refused.get((status, rule), 0):,}",
                    f"{after.refused.get((status, rule), 0):,}",
                    text(rule_words(rule)),
                )
                for status, rule in kinds
            ],
        )
    )


def _persons(title: str, before: Side, after: Side) -> Iterator[RenderableType]:
    yield from heading(title)
    rows = max(len(before.largest), len(after.largest))
    cells = [[*side.largest, *[("", 0)] * (rows - len(side.largest))] for side in (before, after)]
    yield indented(
        grid(
            ("before", ">", "after", ">"),
            [
                (text(one), f"{n:,}" if one else "", text(other), f"{m:,}" if other else "")
                for (one, n), (other, m) in zip(*cells, strict=True)
            ],
            last_wraps=False,
        )
    )


def _demoted(before: Side, after: Side, limit: int) -> Iterator[RenderableType]:
    for title, gone, there in (
        ("Demoted by the new rules alone", before.demoted, after.demoted),
        ("Demoted by the old rules alone", after.demoted, before.demoted),
    ):
        only = sorted((one, why) for one, why in there.items() if one not in gone)
        if not only:
            continue
        yield from heading(title)
        for one, why in only[: limit or None]:
            yield indented(text(f"{identifier(*one)} ({why})"))
        if limit and len(only) > limit:
            yield indented(text(f"{len(only) - limit:,} more; --limit 0 shows all", "dim italic"))


def _touched(found: Touched) -> Iterator[RenderableType]:
    yield from heading("What that means for OUT")
    yield indented(text(f"{found.journeys:,} of {plural(found.of_journeys, 'journey')} would change"))
    if found.unknown:
        yield indented(
            text(
                f"{plural(found.unknown, 'person')} that change have no journey in OUT: it was made of other events",
                "yellow",
            )
        )
    states = ", ".join(f"{n:,} {state}" for state, n in sorted(found.actions.items()) if n) or "no unsettled action"
    yield indented(text(f"planned for them: {states}; {plural(found.steps, 'plan')} with a step to come"))


# --- for machines -------------------------------------------------------------------------------------------------


def trial_values(trial: Trial, touched: Touched | None, limit: int = 0) -> dict[str, Any]:
    """The comparison as plain values; ``limit`` bounds the lists of examples, 0 for no bound."""
    found, end = trial.difference, limit or None
    return {
        "events": trial.events,
        "copies": trial.copies,
        "rejected": trial.rejected,
        "damaged": trial.damaged,
        "before": _side_values(trial.before, end),
        "after": _side_values(trial.after, end),
        "same": found.same,
        "renamed": found.renamed,
        "merged": len(found.joined),
        "split": len(found.parted),
        "moved_events": found.moved,
        "strands": trial.strands,
        "moved_strands": trial.moved_strands,
        "lost_events": found.lost,
        "gained_events": found.gained,
        "changed_persons": len(found.changed),
        "merges": [{"person": j.person, "from": dict(list(j.sources.items())[:end])} for j in found.joined[:end]],
        "splits": [{"person": p.person, "to": dict(list(p.parts.items())[:end])} for p in found.parted[:end]],
        "out": None
        if touched is None
        else {
            "journeys": touched.of_journeys,
            "changed_journeys": touched.journeys,
            "unknown_persons": touched.unknown,
            "unsettled_actions": dict(touched.actions),
            "open_plan_steps": touched.steps,
        },
    }


def _side_values(side: Side, end: int | None) -> dict[str, Any]:
    return {
        "rules": side.rules,
        "persons": side.persons,
        "largest": [{"person": person, "identifiers": n} for person, n in side.largest],
        "not_holding": [
            {"status": status, "rule": rule, "edges": n} for (status, rule), n in sorted(side.refused.items())
        ],
        "demoted": len(side.demoted),
        "demoted_identifiers": {shown(one): why for one, why in sorted(side.demoted.items())[:end]},
        "unusable_events": side.unusable,
        "erased_events": side.erased,
    }
