"""Small worlds for identity tests: rules from text, events in short form, and hypothesis strategies for both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

from contracts import documents
from contracts.event import Identifier
from contracts.exchange import Link
from transforms.identity.evidence import FirstAfter
from transforms.identity.resolve import Resolution
from transforms.identity.rules import IdentityRules
from transforms.identity.rules_file import load_rules, parse_rules

DEFAULT_FILE = Path(__file__).parents[3] / "ontology" / "identity.yaml"

TEXT = """
name: test
namespaces:
  cookie: {{kind: device, priority: 1}}
  app: {{kind: device, priority: 2}}
  network: {{kind: device, priority: 3, links: false}}
  email: {{kind: known, priority: 4}}
  crm: {{kind: known, priority: 5}}
  user: {{kind: known, priority: 6, {limit}}}
owner: {owner}
{demote}
component_size: {size}
{crowd}
alias_overrides: {overrides}
events: {{erase: [erase], alias: [alias], merge: [merge], unlink: [unlink], logout: [logout]}}
"""


def rules(
    owner: str = "last_known",
    unique: bool = True,
    size: int = 1000,
    demote_after: str | None = None,
    *,
    limit: str | None = None,
    crowd: int | None = None,
    overrides: bool = False,
) -> IdentityRules:
    text = TEXT.format(
        owner=owner,
        limit=f"limit: {limit}" if limit else f"unique: {str(unique).lower()}",
        size=size,
        demote=f"demote_after: {demote_after}" if demote_after else "",
        crowd=f"crowd: {crowd}" if crowd else "",
        overrides=str(overrides).lower(),
    )
    return parse_rules(documents.parse(text, "identity.yaml"))


def default_rules() -> IdentityRules:
    return load_rules(DEFAULT_FILE)


def ident(text: str) -> Identifier:
    """``cookie:a`` as an identifier."""
    namespace, _, value = text.partition(":")
    return Identifier(namespace, value)


@dataclass(frozen=True)
class Seen:
    """An event as far as identity sees it: ``Seen(3, "cookie:a user:1")``."""

    time: int
    names: str
    event_id: str = ""
    name: str = "view"

    @property
    def identifiers(self) -> tuple[Identifier, ...]:
        return tuple(ident(name) for name in self.names.split())

    @property
    def id(self) -> str:
        return self.event_id or f"e{self.time}:{self.names}:{self.name}"


def links_of(events: Iterable[Seen], by: IdentityRules) -> list[Link]:
    return [link for e in events for link in by.links(e.identifiers, e.name, e.id, e.time, e.time + 1)]


def firsts_of(events: Iterable[Seen], by: IdentityRules, before: Iterable[int] = ()) -> list[Link]:
    """What merged links lack: with which sighting each begins after each request for erasure, and those ``before``."""
    seen = list(events)
    times = sorted({*before, *(e.time for e in seen if e.name in by.erase_events)})
    book = FirstAfter(by, lambda _: times)
    for e in seen:
        book.observe(e.identifiers, e.name, e.id, e.time, e.time + 1)
    return book.drain()


def everything(resolution: Resolution) -> dict[str, list[tuple[object, ...]]]:
    """All that a resolution says, comparable."""
    return {
        "assignments": sorted(
            (a.primary, a.login or ("", ""), a.sequence, a.steps, a.erased_before or -1, a.carry)
            for a in resolution.assignments()
        ),
        "identifiers": sorted(map(tuple, resolution.identifiers())),
        "persons": sorted((p[0], p[1], p[2], p[3], p[4] or "") for p in resolution.persons()),
        "edges": sorted((tuple(edge) for edge in resolution.edges()), key=repr),
        "demoted": sorted(resolution.demoted()),
        "erasures": sorted(resolution.erasures()),
    }


def strands_of(resolution: Resolution) -> dict[tuple[Identifier, Identifier | None], str]:
    return {(a.primary, a.login): a.steps[0][1] for a in resolution.assignments()}


_devices = st.sampled_from(
    ["", "cookie:a", "cookie:b", "cookie:c", "cookie:a app:x", "app:x", "app:y", "network:n cookie:b"]
)
_knowns = st.sampled_from(["", "", "user:1", "user:2", "user:3", "email:p", "crm:k", "user:1 email:p", "user:2 email:p",
                           "user:2 email:q crm:k", "email:q crm:l", "crm:l user:3"])  # fmt: skip


@st.composite
def seen(draw: st.DrawFn, *, erasing: bool = True) -> Seen:
    names = f"{draw(_devices)} {draw(_knowns)}".strip() or "cookie:a"
    names_of_events = ["view"] * 8 + ["merge", "unlink", "alias", "logout"] + ["erase"] * erasing
    return Seen(draw(st.integers(0, 12)), names, name=draw(st.sampled_from(names_of_events)))


def worlds(*, erasing: bool = True, max_size: int = 14) -> st.SearchStrategy[list[Seen]]:
    return st.lists(seen(erasing=erasing), min_size=1, max_size=max_size)


_pairs = ["user:1 email:p", "user:1 email:p", "user:2 email:p", "cookie:a user:1", "cookie:a user:2", "cookie:a",
          "cookie:a app:x", "user:1", "user:2"]  # fmt: skip


@st.composite
def repeated(draw: st.DrawFn) -> list[Seen]:
    """Worlds in which few identifiers are seen again and again, before and after their erasure."""
    times = draw(st.lists(st.integers(0, 40), min_size=6, max_size=16, unique=True))
    names = st.sampled_from(["view"] * 4 + ["erase"])
    return [Seen(time, draw(st.sampled_from(_pairs)), name=draw(names)) for time in times]


_one = ["user:1", "user:2", "user:3", "user:4", "email:p", "email:q", "crm:k", "cookie:a", "cookie:b", "app:x"]
_few = ["user:1", "user:2", "cookie:a", "cookie:b", "cookie:c", "app:x"]


def dense(*, erasing: bool = True) -> st.SearchStrategy[list[Seen]]:
    """Worlds in which much is unlinked and merged, so that several things stand against one link."""
    names = ["view", "view", "unlink", "unlink", "merge", "logout", *["erase"] * erasing]

    def some(identifiers: list[str]) -> st.SearchStrategy[list[Seen]]:
        asked = st.builds(
            lambda time, one, other, name: Seen(time, f"{one} {other}", name=name),
            st.integers(0, 30),
            st.sampled_from(identifiers),
            st.sampled_from(identifiers),
            st.sampled_from(names),
        )
        return st.lists(asked, min_size=4, max_size=24)

    return some(_one) | some(_few)


any_rules = st.builds(
    rules,
    owner=st.sampled_from(["last_known", "first_known", "keep_apart", "carry_forward", "carry_visit", "carry_back"]),
    unique=st.booleans(),
    size=st.sampled_from([2, 3, 5, 1000]),
    demote_after=st.sampled_from([None, None, "1", "2", "{logins: 1, within: 3us}"]),
    limit=st.sampled_from([None, None, "2", "{values: 1, within: 4us}"]),
    crowd=st.sampled_from([None, None, 1000]),
    overrides=st.booleans(),
)
