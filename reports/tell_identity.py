"""The story of a person's identity in words: tree, path, what was refused, what would be without an edge.

Input: an ``IdentityStory``. Output: rich renderables for 100 columns. Errors, state: none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from contracts.event import Identifier
from reports.identity_story import IdentityStory, WhatIf
from reports.identity_words import conflict_words, rule_words, status_words
from reports.rendering import clean, day, grid, heading, identifier, indented, moment, plural, text
from transforms.identity.resolve import EdgeRow
from transforms.identity.tree import MOST_SEARCHED, Branch, Step

_DEEPEST = 16
"""Levels that are shown by indentation; deeper ones state their number."""


def tell_identity(story: IdentityStory, limit: int) -> Iterator[RenderableType]:
    """The whole story.

    Args:
        story: of the person.
        limit: most rows that a section shows, 0 for all.
    """
    yield Text.assemble(
        ("Person ", "bold"),
        (clean(story.person_id), "bold cyan"),
        f": {plural(len(story.members), 'identifier')}, {plural(story.events, 'event')}",
    )
    if story.asked:
        yield text(story.asked, "italic")
    if story.outdated:
        yield text(f"OUT was made by other rules, {story.outdated}: a run will resolve it anew", "yellow")
    if story.way is not None and story.goal is not None:
        yield from _path(story, story.goal)
    yield from _tree(story, limit)
    yield from _against(story, limit)
    yield from _whatifs(story.whatifs, story.untold, limit)


def _tree(story: IdentityStory, limit: int) -> Iterator[RenderableType]:
    yield from heading("What holds it together")
    branches = story.tree.branches[: limit or None]
    for branch in branches:
        yield indented(_branch(branch), 2 + 2 * min(branch.depth, _DEEPEST))
    yield from _rest(len(branches), len(story.tree.branches), "identifiers")
    if story.tree.loose:
        shown = story.tree.loose[: limit or None]
        yield indented(
            text(f"in its hands now, and carried to each login in turn: {', '.join(_short(i) for i in shown)}")
        )
        yield from _rest(len(shown), len(story.tree.loose), "devices")


def _branch(branch: Branch) -> Text:
    said = Text(_short(branch.identifier), style="bold" if branch.edge is None else "")
    if branch.edge is None:
        return said.append(" names the person", style="dim")
    if branch.depth > _DEEPEST:
        said.append(f" (level {branch.depth}, below {_short(branch.parent or branch.identifier)})", style="dim")
    return said.append_text(_evidence(branch.edge))


def _evidence(edge: EdgeRow) -> Text:
    said = Text.assemble(
        f"  {clean(rule_words(edge.rule, edge.kind))}",
        (f"; {day(moment(edge.first_time))}, event {clean(edge.first_event_id)}", "dim"),
    )
    if edge.last_event_id != edge.first_event_id:
        said.append(f"; again up to {day(moment(edge.last_time))}", style="dim")
    return said


def _path(story: IdentityStory, goal: Identifier) -> Iterator[RenderableType]:
    way = story.way
    assert way is not None
    yield from heading(f"From {_short(story.start)} to {_short(goal)}")
    if way.steps is None:
        why = (
            f"the search ended after {way.searched:,} identifiers, at its limit of {MOST_SEARCHED:,}"
            if way.gave_up
            else f"no event, refused or not, leads from one to the other ({way.searched:,} identifiers searched)"
        )
        yield indented(text(f"no path: {why}", "yellow"))
        return
    if not way.steps:
        yield indented(text("they are the same identifier"))
        return
    if way.holds:
        yield indented(text("one person, by", "green"))
    else:
        yield indented(text(f"no path holds; {plural(len(way.gaps), 'edge')} of this one stand between", "yellow"))
    for step in way.steps:
        yield indented(_step(step), 4)


def _step(step: Step) -> Text:
    return Text.assemble(
        f"{_short(step.start)} + {_short(step.end)}  ",
        status_words(step.edge.status) if not (step.edge.accepted and not step.holds) else Text("apart", "yellow"),
        _evidence(step.edge),
        (_against_it(step.edge), "yellow"),
    )


def _against(story: IdentityStory, limit: int) -> Iterator[RenderableType]:
    if not story.against:
        return
    yield from heading("What holds nothing together")
    rows = story.against[: limit or None]
    yield indented(
        grid(
            ("seen", "together", "", "because"),
            [
                (
                    day(moment(edge.first_time)),
                    text(f"{_short(edge.left)} + {_short(edge.right)}"),
                    status_words(edge.status),
                    Text.assemble(
                        clean(rule_words(edge.rule, edge.kind)),
                        (_against_it(edge), "yellow"),
                        (f"; event {clean(edge.first_event_id)}", "dim"),
                    ),
                )
                for edge in rows
            ],
        )
    )
    yield from _rest(len(rows), len(story.against), "edges")
    for demoted, why in sorted(story.demoted.items())[: limit or None]:
        yield indented(text(f"{_short(demoted)} is {why}: it links nobody any more", "yellow"))


def _whatifs(whatifs: Sequence[WhatIf], untold: int, limit: int) -> Iterator[RenderableType]:
    if not whatifs:
        return
    yield from heading("What would be without an edge")
    yield indented(
        grid(
            ("without", ">identifiers", ">events", "that leave"),
            [
                (
                    text(f"{_short(what.left)} + {_short(what.right)}"),
                    f"{sum(map(len, what.leaves.values())):,}",
                    f"{what.events:,}",
                    _leaving(what, limit),
                )
                for what in whatifs
            ],
        )
    )
    yield from _rest(len(whatifs), len(whatifs) + untold, "edges")


def _leaving(what: WhatIf, limit: int) -> Text:
    if not what.leaves and not what.events:
        return text("none: other evidence holds them together" if not what.joins else _joining(what))
    parts = []
    for person, identifiers in sorted(what.leaves.items())[: limit or None]:
        shown = identifiers[: limit or None]
        more = f" and {len(identifiers) - len(shown):,} more" if len(shown) < len(identifiers) else ""
        how = "to join" if person in what.joins else "as"
        parts.append(f"{', '.join(map(_short, shown))}{more} {how} {person}")
    said = "; ".join(parts) or "events only"
    return text("; ".join(filter(None, (said, _joining(what)))))


def _joining(what: WhatIf) -> str:
    """Persons that would become one, beside those whom somebody who leaves joins."""
    others = sorted((person, sources) for person, sources in what.joins.items() if person not in what.leaves)
    return "; ".join(f"{' and '.join(sources)} become {person}" for person, sources in others)


def _against_it(edge: EdgeRow) -> str:
    return conflict_words(None if edge.conflict is None else ":".join(edge.conflict))


def _short(one: Identifier) -> str:
    return identifier(one.namespace, one.value)


def _rest(shown: int, of: int, what: str) -> Iterator[RenderableType]:
    if shown < of:
        yield indented(Text(f"{of - shown:,} more {what}; --limit 0 shows all", style="dim italic"))
