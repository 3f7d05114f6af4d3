"""One world, several ways to say who is who: each scored on the same events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.identity.agreement import Ints, Score, Table, b_cubed, by_event, by_pair
from benchmarks.identity.assigned import Given, Scene, by_rules, naively, reach, scene_of
from benchmarks.identity.causes import CAUSES, causes_of
from benchmarks.identity.evidence import Evidence, gather
from benchmarks.identity.truth import Truth, read_truth
from contracts import documents
from contracts.errors import ConfigurationError
from transforms.identity.resolve import resolve
from transforms.identity.rules import OWNER_POLICIES, IdentityRules
from transforms.identity.rules_file import parse_rules
from transforms.inputs import list_inputs

POLICIES = OWNER_POLICIES
NAIVE, KNOWABLE = "naive", "knowable"
_PUBLIC_AFTER = 8
"""A device of more people than this is called public in the causes of errors, whatever the rules say."""
_KEY = b"accuracy does not depend on keys"


@dataclass(frozen=True)
class Column:
    """What one way of saying who is who comes to. ``causes``: events by cause, in the order of ``CAUSES``."""

    name: str
    pairs: Score
    events: Score
    b_cubed: Score
    persons: int
    causes: tuple[int, ...]

    @property
    def errors(self) -> int:
        return sum(self.causes)

    @property
    def avoidable(self) -> int:
        return sum(n for n, cause in zip(self.causes, CAUSES, strict=True) if not cause.unavoidable)


@dataclass(frozen=True)
class Comparison:
    """One world. ``events`` are compared; ``erased`` were accepted but are gone on request under some rules.

    ``rejected``: received and not accepted, by reason; ``unknown``: accepted, but not in the truth. ``devices``:
    cookies and installations seen; ``shared``: of them with several true persons.
    """

    received: int
    rejected: Counter[str]
    unknown: int
    erased: int
    events: int
    persons: int
    devices: int
    shared: int
    columns: tuple[Column, ...]

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


def variants(path: Path) -> tuple[dict[str, IdentityRules], list[str]]:
    """The rules of a file under each owner policy, and the policies that this version does not have."""
    root = documents.load(path)
    found: dict[str, IdentityRules] = {}
    missing: list[str] = []
    for policy in POLICIES:
        owner = documents.Node(policy, root.path, root.line, "owner")
        try:
            found[policy] = parse_rules(replace(root, value={**root.mapping(), "owner": owner}))
        except ConfigurationError as error:
            if policy not in str(error):
                raise
            missing.append(policy)
    return found, missing


def compare(
    world: Path,
    rules: Mapping[str, IdentityRules],
    workers: int,
    tell: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Score rules, the naive union and the best possible on a simulated world.

    Args:
        world: a folder that ``wayline simulate`` wrote.
        rules: by the name of their column; they must agree about namespaces, so that one reading serves all of them.
        workers: processes that read.
        tell: told what is being done.

    Raises:
        InputError: no such world.
        ValueError: no rules, or rules that read events differently.
    """
    first = _common(list(rules.values()))
    truth = read_truth(world)
    tell("reading")
    evidence = gather(list_inputs((str(world / "events"),)), first, _KEY, workers)
    scene, unknown = _scene(evidence, truth, first)
    # long lists are let go of as soon as their numbers are known: memory is what bounds the size of a world here
    evidence.places.clear()
    given: dict[str, Given] = {}
    for name, some in rules.items():
        tell(f"resolving: {name}")
        given[name] = by_rules(scene, resolve(evidence.links, some).assignments(), some)
    evidence.links.clear()
    erased = np.logical_or.reduce([g.erased for g in given.values()])
    persons = {name: given.pop(name).person[~erased] for name in rules}
    # erasure is no error, and a column that erases less must not be measured on more
    kept = scene.only(~erased)
    tell("scoring")
    knowable = reach(kept)
    persons[NAIVE] = naively(kept)
    persons[KNOWABLE] = knowable.person
    columns: list[Column] = []
    for name, predicted in persons.items():
        table = Table.of(kept.person, predicted)
        attribution = by_event(table)
        causes = causes_of(kept, knowable, predicted, attribution, _PUBLIC_AFTER)
        columns.append(
            Column(
                name,
                by_pair(table),
                attribution.score,
                b_cubed(table),
                len(np.unique(predicted)),
                tuple(np.bincount(causes[causes >= 0], minlength=len(CAUSES)).tolist()),
            )
        )
    devices = np.unique(kept.places.primary[kept.place])
    devices = devices[[not first.is_known(kept.places.identifiers[d].namespace) for d in devices.tolist()]]
    return Comparison(
        evidence.received,
        evidence.rejected,
        unknown,
        int(erased.sum()),
        len(kept),
        len(np.unique(kept.person)),
        len(devices),
        int((knowable.holders[devices] > 1).sum()),
        tuple(columns),
    )


def _common(rules: Sequence[IdentityRules]) -> IdentityRules:
    """One of the rules, for reading; all of them must read alike."""
    if not rules:
        raise ValueError("no rules to compare")
    first = rules[0]
    for other in rules[1:]:
        if _reading(other) != _reading(first):
            raise ValueError(f"{other.version} reads identifiers differently from {first.version}: compare them apart")
    return first


def _reading(rules: IdentityRules) -> list[tuple[object, ...]]:
    return [
        (n.name, n.kind, n.priority, n.links, n.normalise, n.target, n.blocked_values, n.blocked_patterns)
        for n in rules.namespaces.values()
    ]


def _scene(evidence: Evidence, truth: Truth, rules: IdentityRules) -> tuple[Scene, int]:
    rows = truth.rows_of(evidence.event_id)
    scene = scene_of(evidence, rules, _persons(truth, rows), len(truth.names))
    known = rows >= 0
    return (scene if known.all() else scene.only(known)), int((~known).sum())


def _persons(truth: Truth, rows: Ints) -> Ints:
    return truth.person[np.maximum(rows, 0)]
