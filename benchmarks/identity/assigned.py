"""Whom each event is given to: by rules, by a naive union of identifiers, and by a reader who knows all that can be.

Pure. Input: ``Scene``, the events that are compared, with their identifiers by number and their true persons. Output:
for each event the number of a person. Numbers follow the ids or identifiers of persons, never the order of input.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.identity.agreement import Bools, Ints
from benchmarks.identity.evidence import Evidence, Identifiers
from contracts.event import Identifier
from contracts.exchange import Assignment
from transforms.identity.carry import carried_steps, hands
from transforms.identity.components import labels
from transforms.identity.ids import canonical_id
from transforms.identity.rules import IdentityRules, StrandKey

NOBODY = -1


@dataclass(frozen=True)
class Places:
    """The distinct sets of identifiers of events, by number.

    ``strand[place]`` is a row of ``strands``. ``ends`` are the linking identifiers of all places one after the other,
    as rows of ``identifiers``: those of a place stand from ``start[place]`` to ``start[place + 1]``.
    """

    identifiers: list[Identifier]
    strands: list[StrandKey]
    strand: Ints
    primary: Ints
    login: Ints
    """The best known identifier of each place, -1 for none."""
    start: Ints
    ends: Ints

    @property
    def of_end(self) -> Ints:
        """The place of each entry of ``ends``."""
        return np.repeat(np.arange(len(self.strand)), np.diff(self.start))


@dataclass(frozen=True)
class Scene:
    """Events by column: ``place`` in ``places``, ``visit`` (0 for none, else from 1 up), event time, whether the event
    ends the login on its device, true person."""

    places: Places
    place: Ints
    visit: Ints
    time: Ints
    logout: Bools
    person: Ints
    persons: int

    def __len__(self) -> int:
        return len(self.place)

    def only(self, kept: Bools) -> Scene:
        """Some of the events."""
        return Scene(
            self.places, self.place[kept], self.visit[kept], self.time[kept], self.logout[kept], self.person[kept],
            self.persons,
        )  # fmt: skip


def places_of(rows: Iterable[Identifiers], rules: IdentityRules) -> Places:
    """Number the identifiers and strands of places; identifiers that may not link are left out."""
    number: dict[Identifier, int] = {}
    strands: dict[StrandKey, int] = {}
    strand: list[int] = []
    primary: list[int] = []
    login: list[int] = []
    start = [0]
    ends: list[int] = []
    for identifiers in rows:
        key = rules.strand_key(identifiers)
        if key is None:
            raise AssertionError("a place without a linking identifier was let through")
        strand.append(strands.setdefault(key, len(strands)))
        ends.extend(number.setdefault(i, len(number)) for i in identifiers if rules.links_at_all(i.namespace))
        start.append(len(ends))
        known = key.login or (key.primary if rules.is_known(key.primary.namespace) else None)
        primary.append(number[key.primary])
        login.append(NOBODY if known is None else number[known])
    columns = (np.array(column, dtype=np.int64) for column in (strand, primary, login, start, ends))
    return Places(list(number), list(strands), *columns)


def scene_of(evidence: Evidence, rules: IdentityRules, person: Ints, persons: int) -> Scene:
    """All accepted events with their true persons."""
    _, visit = np.unique(evidence.visit, return_inverse=True)
    without = int((evidence.visit == 0).any())
    visits = visit.reshape(-1).astype(np.int64) + (1 - without)
    places = places_of(evidence.places, rules)
    return Scene(places, evidence.place, visits, evidence.time, evidence.logout, person, persons)


# --- by rules ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Given:
    """``person`` of each event, and which events were ``erased`` (their person means nothing then)."""

    person: Ints
    erased: Bools


def by_rules(scene: Scene, assignments: Iterable[Assignment], rules: IdentityRules) -> Given:
    """Give each event to the person of its strand's assignment at its time, as the strand stage does."""
    places = scene.places
    row = {key: number for number, key in enumerate(places.strands)}
    names: list[str] = [canonical_id(key.login or key.primary) for key in places.strands]
    erased_before = np.full(len(names), np.iinfo(np.int64).min)
    stepped: dict[int, tuple[tuple[int, str], ...]] = {}
    carried: list[int] = []
    for assignment in assignments:
        number = row.get(StrandKey(assignment.primary, assignment.login))
        if number is None:
            continue
        if assignment.erased_before is not None:
            erased_before[number] = assignment.erased_before
        if len(assignment.steps) > 1:
            stepped[number] = assignment.steps
        elif assignment.steps:
            names[number] = assignment.steps[0][1]
        if assignment.carry:
            carried.append(number)
    if carried:
        stepped.update(_carried(scene, carried, names, rules))
    ordered = sorted({*names, *(name for steps in stepped.values() for _, name in steps)})
    rank = {name: number for number, name in enumerate(ordered)}
    of_strand = np.fromiter((rank[name] for name in names), np.int64, len(names))
    strand = places.strand[scene.place]
    person = of_strand[strand]
    if stepped:
        _by_steps(person, strand, scene.time, stepped, rank)
    return Given(person, scene.time <= erased_before[strand])


class _Mark(NamedTuple):
    """What the core wants to know of an event on a device that is carried."""

    event_time: int
    login: Identifier | None
    logout: bool


def _carried(
    scene: Scene, strands: list[int], names: list[str], rules: IdentityRules
) -> dict[int, tuple[tuple[int, str], ...]]:
    """The steps of login-less strands whose device is carried, by the core's own account of its hands."""
    places = scene.places
    of_strand = {key: number for number, key in enumerate(places.strands)}
    index = {identifier: number for number, identifier in enumerate(places.identifiers)}
    strand_of_device = {index[places.strands[number].primary]: number for number in strands}
    on_device = np.zeros(len(places.identifiers), dtype=np.bool_)
    on_device[list(strand_of_device)] = True
    device = places.primary[scene.place]
    rows = np.flatnonzero(on_device[device])
    rows = rows[np.lexsort((scene.time[rows], device[rows]))]
    found: dict[int, tuple[tuple[int, str], ...]] = {}
    held, first = np.unique(device[rows], return_index=True)
    for number, some in zip(held.tolist(), np.split(rows, first[1:]), strict=True):
        primary = places.identifiers[number]
        columns = (scene.time[some].tolist(), places.strand[scene.place[some]].tolist(), scene.logout[some].tolist())
        marks = [_Mark(at, places.strands[strand].login, out) for at, strand, out in zip(*columns, strict=True)]

        def person_of(login: Identifier, primary: Identifier = primary) -> str:
            return names[of_strand[StrandKey(primary, login)]]

        strand = strand_of_device[number]
        found[strand] = carried_steps(hands(marks, rules.carry_of(primary.namespace)), person_of, names[strand])
    return found


def _by_steps(
    person: Ints, strand: Ints, time: Ints, stepped: dict[int, tuple[tuple[int, str], ...]], rank: dict[str, int]
) -> None:
    """Overwrite the persons of events whose strand changes hands in time."""
    moving = np.zeros(int(strand.max(initial=0)) + 1, dtype=np.bool_)
    moving[[number for number in stepped if number < len(moving)]] = True
    rows = np.flatnonzero(moving[strand])
    rows = rows[np.argsort(strand[rows], kind="stable")]
    held, first = np.unique(strand[rows], return_index=True)
    for number, some in zip(held.tolist(), np.split(rows, first[1:]), strict=True):
        since = np.array([at for at, _ in stepped[number]], dtype=np.int64)
        holders = np.array([rank[name] for _, name in stepped[number]], dtype=np.int64)
        # an event before the first step is the first holder's
        person[some] = holders[np.maximum(np.searchsorted(since, time[some], side="right") - 1, 0)]


# --- naively -------------------------------------------------------------------------------------------------------


def naively(scene: Scene) -> Ints:
    """Unite all linking identifiers of each event, without any rule; whoever is reached is one person."""
    places = scene.places
    inner = places.start[:-1]
    left = np.repeat(places.ends[inner], np.diff(places.start))
    label = labels(left, places.ends, len(places.identifiers))
    person: Ints = label[places.ends[inner]][scene.place]
    return person


# --- knowing all that can be known ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reach:
    """What a reader could tie together who is told, of every identifier, whether it is one person's alone.

    Events of a person are tied when they share such an identifier, or a visit. ``person`` numbers the tied groups; an
    event that nothing ties to any other is a group of its own. ``attributable`` marks the events that are tied to the
    largest group of their true person: no rule can know that the others are that person's, since every event would
    look the same had somebody else done them. ``holders`` counts the true persons of each identifier.
    """

    person: Ints
    attributable: Bools
    holders: Ints


def reach(scene: Scene) -> Reach:
    """How far knowledge can go."""
    places, count = scene.places, len(scene.places.identifiers)
    holders = _holders(scene)
    alone = holders == 1
    anchor = _first_end(places, alone)
    visits = int(scene.visit.max(initial=0)) + 1
    # nodes: identifiers that are one person's alone, and visits
    anchored = anchor[scene.place]
    node = np.where(anchored >= 0, anchored, np.where(scene.visit > 0, count + scene.visit, NOBODY))
    of_end = places.of_end
    within = (anchor[of_end] >= 0) & alone[places.ends]
    both = (anchored >= 0) & (scene.visit > 0)
    bridges = np.unique(np.stack([anchored[both], count + scene.visit[both]]), axis=1)
    label = labels(
        np.concatenate([anchor[of_end][within], bridges[0]]),
        np.concatenate([places.ends[within], bridges[1]]),
        count + visits,
    )
    tied = node >= 0
    group = np.where(tied, label[np.maximum(node, 0)], 0)
    group[~tied] = count + visits + np.arange(int((~tied).sum()))
    pairs, inverse, n = np.unique(
        scene.person * (count + visits + len(scene)) + group, return_inverse=True, return_counts=True
    )
    owner = pairs // (count + visits + len(scene))
    order = np.lexsort((-pairs, n, owner))
    largest = np.full(scene.persons, NOBODY, dtype=np.int64)
    largest[owner[order]] = order
    inverse = inverse.reshape(-1)
    return Reach(_dense(group), largest[scene.person] == inverse, holders)


def _dense(numbers: Ints) -> Ints:
    _, dense = np.unique(numbers, return_inverse=True)
    return dense.reshape(-1).astype(np.int64)


def _holders(scene: Scene) -> Ints:
    """How many true persons each identifier has among the events."""
    places = scene.places
    seen = np.unique(scene.place * scene.persons + scene.person)
    place, person = seen // scene.persons, seen % scene.persons
    sizes = np.diff(places.start)[place]
    offset = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    ends = places.ends[np.repeat(places.start[place], sizes) + offset]
    pairs = np.unique(ends * scene.persons + np.repeat(person, sizes))
    return np.bincount(pairs // scene.persons, minlength=len(places.identifiers))


def _first_end(places: Places, wanted: Bools) -> Ints:
    """The first identifier of each place that is wanted, -1 for none."""
    first = np.full(len(places.strand), NOBODY, dtype=np.int64)
    rows = np.flatnonzero(wanted[places.ends])[::-1]
    first[places.of_end[rows]] = places.ends[rows]
    return first


def known_on(scene: Scene, primary: NDArray[np.int64]) -> tuple[Bools, Bools]:
    """For each event: was anybody, and was its true person, ever named by a known identifier on its primary one?"""
    named = scene.places.login[scene.place] >= 0
    anybody = np.zeros(len(scene.places.identifiers), dtype=np.bool_)
    anybody[primary[named]] = True
    pairs = primary * scene.persons + scene.person
    return anybody[primary], np.isin(pairs, np.unique(pairs[named]))
