"""Scenarios read from YAML: what happens when, and what is expected. docs/journey_tests.md explains every key.

Input: a file and the world (``play.World``) it speaks of. Output: ``Scenario``. Time domain: event time, UTC
microseconds; day 1 is 1 January 2024, a Monday, unless the scenario says. Errors: ConfigurationError with file and
line, and the nearest known word for a misspelt one. State: none.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from contracts import documents
from contracts.documents import Node
from contracts.event import Event
from pipelines.config import ProjectConfig
from pipelines.scenarios.expected import PERSON_KEYS, Expected, read_expected
from pipelines.scenarios.happening import Who, read_events, read_who
from pipelines.scenarios.play import Model, World
from pipelines.scenarios.when import read_when

Worlds = Callable[[ProjectConfig], World]

KEYS = (
    "scenario", "because", "ontology", "identity", "policies", "begins", "who", "model", "events", "until",
    "people", "rejected", *PERSON_KEYS,
)  # fmt: skip
MONDAY = "2024-01-01"


@dataclass(frozen=True)
class Scenario:
    """One test.

    Attributes:
        begin: midnight of day 1.
        until: the horizon, the end of the simulated clock.
        events: in the order in which they are told.
        who: what people and devices are called.
        people: what is expected of whom; the name is None for the one person that a scenario without ``people`` has.
        rejected: how many events are expected to be turned away.
        model: what a model would say at every point, a probability a stage; None where there is none.
    """

    name: str
    path: str
    line: int
    world: World
    begin: int
    until: int
    events: tuple[Event, ...]
    who: Who
    people: tuple[tuple[str | None, Expected], ...]
    rejected: int
    model: Model = None


def scenario_files(paths: list[Path]) -> list[Path]:
    """The scenario files among files and folders, in order; of a folder those directly in it."""
    found: list[Path] = []
    for path in paths:
        found += sorted([*path.glob("*.yaml"), *path.glob("*.yml")]) if path.is_dir() else [path]
    return list(dict.fromkeys(found))


def cached_worlds() -> Worlds:
    """A function that reads each set of files once; all else in the configuration has to be the same."""
    known: dict[tuple[Path, Path, tuple[Path, ...]], World] = {}

    def world(config: ProjectConfig) -> World:
        key = (config.ontology, config.identity, config.policies)
        if key not in known:
            known[key] = World(config)
        return known[key]

    return world


def read_scenarios(path: Path, config: ProjectConfig, worlds: Worlds) -> Iterator[Scenario]:
    """The scenarios of a file.

    Args:
        config: what holds where a scenario names no files of its own.
        worlds: what reads them.

    Raises:
        ConfigurationError: with file and line.
    """
    taken: dict[str, int] = {}
    root = documents.load(path)
    if not isinstance(root.value, list):
        root.fail("a scenario file is a list", hint="begin each scenario with '- scenario: what it shows'")
    for node in root.list():
        made = _read(node, config, worlds)
        if made.name in taken:
            node.fail(f"there is a scenario {made.name!r} already, at line {taken[made.name]}")
        taken[made.name] = made.line
        yield made


def _read(node: Node, config: ProjectConfig, worlds: Worlds) -> Scenario:
    node.mapping(KEYS)
    name = node.need("scenario").string()
    world = worlds(_own_files(node, config))
    begins = node.get("begins")
    begin = _day(begins) if begins else read_when(MONDAY, 0, None).at
    who = read_who(node.get("who"), world)
    events = read_events(node.need("events"), who, world, begin)
    last = max(event.event_time for event in events)
    until_node = node.get("until")
    until = last if until_node is None else _until(until_node, begin, last)
    people_node = node.get("people")
    people: list[tuple[str | None, Expected]] = []
    if people_node is None:
        people.append((None, read_expected(node, world, begin, last, until)))
    else:
        for key in PERSON_KEYS:
            if (own := node.get(key)) is not None:
                own.fail(f"with 'people', {key!r} stands below each of them")
        for label, child in people_node.items():
            if label not in who.labels:
                near = difflib.get_close_matches(label, who.labels, n=1)
                child.fail(
                    f"{label!r} is in no event",
                    hint=f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(who.labels))}",
                )
            child.mapping(PERSON_KEYS)
            people.append((label, read_expected(child, world, begin, last, until)))
    rejected = node.get("rejected")
    return Scenario(
        name,
        node.path,
        node.need("scenario").line,
        world,
        begin,
        until,
        tuple(events),
        who,
        tuple(people),
        rejected.integer(minimum=0) if rejected else 0,
        _model(node.get("model"), world),
    )


def _model(node: Node | None, world: World) -> Model:
    """The probabilities that are said; what is left of 1 is shared by the stages of which nothing is said."""
    if node is None:
        return None
    stages = world.ontology.stage_names
    said = {stage: child.number(minimum=0, maximum=1) for stage, child in node.mapping(stages).items()}
    left, others = 1.0 - sum(said.values()), len(stages) - len(said)
    if left < -1e-9 or (not others and left > 1e-9):
        node.fail("the probabilities of 'model' add up to 1")
    return tuple(said.get(stage, max(left, 0.0) / max(others, 1)) for stage in stages)


def _own_files(node: Node, config: ProjectConfig) -> ProjectConfig:
    base = Path(node.path).parent
    changes: dict[str, object] = {}
    for key in ("ontology", "identity"):
        if (own := node.get(key)) is not None:
            changes[key] = _existing(base, own)
    if (own := node.get("policies")) is not None:
        items = own.list() if isinstance(own.value, list) else [own]
        changes["policies"] = tuple(_existing(base, item) for item in items)
    return dataclasses.replace(config, **changes) if changes else config  # type: ignore[arg-type]  # field names


def _existing(base: Path, node: Node) -> Path:
    path = (base / node.string()).resolve()
    if not path.is_file():
        node.fail(f"there is no file {node.string()}", hint="paths are relative to the scenario file")
    return path


def _day(node: Node) -> int:
    try:
        return read_when(node.string(), 0, None).at
    except ValueError as error:
        _fail(node, error)


def _until(node: Node, begin: int, last: int) -> int:
    try:
        at = read_when(node.string(), begin, last).at
    except ValueError as error:
        _fail(node, error)
    if at < last:
        node.fail("'until' is before the last event")
    return at


def _fail(node: Node, error: ValueError) -> NoReturn:
    node.fail(f"{node.where}: {error}")
