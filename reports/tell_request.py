"""What a request for a merge or an unlink will do, in words. Input: ``Foreseen``. Output: rich renderables."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from contracts.event import Identifier
from contracts.exchange import MERGE
from reports.identity_request import Foreseen, Request
from reports.identity_words import conflict_words, rule_words
from reports.rendering import ARROW, clean, day, grid, heading, identifier, indented, moment, plural, second, text
from transforms.identity.resolve import ACCEPTED
from transforms.identity.union import BARRED


def tell_request(request: Request, foreseen: Foreseen, limit: int) -> Iterator[RenderableType]:
    """The request and what it will do. ``limit``: most identifiers and persons shown, 0 for all."""
    pair = f"{_short(request.one)} and {_short(request.other)}"
    yield Text.assemble(
        (f"{request.kind} ", "bold"),
        pair,
        (f"; dated {second(moment(request.at))}Z, event {request.event_id}", "dim"),
    )
    yield indented(text(f"asked by {request.by}: {request.why}"))
    yield from heading("Now")
    yield indented(text(_now(foreseen)))
    yield from heading("After the next run")
    yield from _then(request, foreseen, limit)


def _now(foreseen: Foreseen) -> str:
    one, other = foreseen.before
    persons = f"one person, {one}" if one == other else f"two persons, {one} and {other}"
    if not foreseen.linked:
        return f"{persons}; never seen together"
    edge = foreseen.linked[0]
    against = conflict_words(None if edge.conflict is None else ":".join(edge.conflict))
    return (
        f"{persons}; seen together since {day(moment(edge.first_time))}, event {clean(edge.first_event_id)}: "
        f"{rule_words(edge.rule, edge.kind)}{against}"
    )


def _then(request: Request, foreseen: Foreseen, limit: int) -> Iterator[RenderableType]:
    verdict = foreseen.verdict
    if foreseen.overruled is not None:
        newer = foreseen.overruled
        yield indented(
            text(
                f"nothing: a newer {newer.kind}, of {second(moment(newer.last_time))}Z, counts instead; "
                "date this one after it with --at",
                "yellow",
            )
        )
        return
    if verdict is None:
        yield indented(text("nothing: one of the two is demoted and links nobody", "yellow"))
        return
    if verdict.status not in (ACCEPTED, BARRED) or (request.kind == MERGE and verdict.status != ACCEPTED):
        against = conflict_words(None if verdict.conflict is None else ":".join(verdict.conflict))
        yield indented(text(f"nothing: it will be refused: {rule_words(verdict.rule)}{against}", "yellow"))
        return
    if not foreseen.changes:
        yield indented(text(_unchanged(request, foreseen)))
        return
    for person, sources in foreseen.merged.items():
        whole = [f"a part of {one}" if one in foreseen.split else one for one in sorted(sources)]
        yield indented(text(f"{' and '.join(whole)} merge into {person}", "green"))
    for person, parts in foreseen.split.items():
        yield indented(text(f"{person} splits into {' and '.join(sorted(parts))}", "yellow"))
    shown = foreseen.parts[: limit or None]
    yield indented(
        grid(
            ("person", ">events", "identifiers"),
            [
                (
                    text(part.before if part.before == part.after else f"{part.before} {ARROW} {part.after}"),
                    f"{part.events:,}",
                    text(_listed(part.identifiers, limit)),
                )
                for part in shown
            ],
        )
    )
    if len(shown) < len(foreseen.parts):
        yield indented(text(f"{len(foreseen.parts) - len(shown):,} more; --limit 0 shows all", "dim italic"))


def _unchanged(request: Request, foreseen: Foreseen) -> str:
    if request.kind == MERGE:
        if foreseen.before[0] == foreseen.before[1]:
            return "no person changes: they are one already; from then on they are whatever limits say"
        return "no person changes by its identifiers"
    if foreseen.before[0] == foreseen.before[1]:
        return "no person changes"
    return "no person changes: they are two already; from then on no evidence joins them, until a merge"


def _listed(identifiers: tuple[Identifier, ...], limit: int) -> str:
    shown = identifiers[: limit or None]
    more = f" and {len(identifiers) - len(shown):,} more" if len(shown) < len(identifiers) else ""
    return ", ".join(map(_short, shown)) + more or f"{plural(0, 'identifier')}"


def _short(one: Identifier) -> str:
    return identifier(one.namespace, one.value)
