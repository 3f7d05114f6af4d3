"""A file of a project with anything in the place of anything is read, or refused by name; nothing else escapes."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.documents import parse
from contracts.errors import ConfigurationError
from features.journey_features import FEATURE_NAMES
from pipelines.config import SHIPPED, load_config
from pipelines.definitions import load_definitions
from sources.importer.mapping_file import parse_mapping
from transforms.decide.policy import load_policies, policy_vocabulary
from transforms.identity.rules_file import parse_rules
from transforms.journey.facts import FACTS
from transforms.journey.ontology_file import parse_ontology
from transforms.schema_registry import load_registry
from transforms.tables.metrics import load_metrics

SOUND = load_definitions(None)
CONFIGURATION = """
shards: {strand: 4, journey: 4}
lateness: 48h
clock_skew: 1h
max_event_bytes: 262144
properties: ["*"]
channels:
  hook: {type: webhook, url: "https://example.com/x", rate: 5}
  crm: {type: file}
"""
INDEX = "schemas:\n  - {event: 1, pubsub: a, revisions: [b], confluent_ids: [1]}\n"
JUNK = (
    None, True, -1, 0, 1, 10**30, 1.5, float("inf"), float("nan"), "", " ", "\x00", "\x1b[2J", "a" * 5_000,
    "../../etc/passwd", "/etc/passwd", "-5h", "1e99d", "99999999999999w", "(a+)+$", "(", "\\", "*", "{{x}}", "${HOME}",
    "!!python/name:os.system", "'; DROP TABLE events; --", "<script>", "true && ", "events_7d > 99999999999999999999",
    "٣", "\u202e", [], {}, [[]], [None], {"": None}, {"a": {"b": []}}, {"when": "true"}, ["true", 1, None],
)  # fmt: skip


def _ontology(text: str, folder: Path) -> None:
    parse_ontology(text, "x.yaml")


def _policies(text: str, folder: Path) -> None:
    (folder / "p.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
    load_policies([folder / "p.yaml"], policy_vocabulary(FEATURE_NAMES, FACTS), SOUND.ontology.stage_names)


def _metrics(text: str, folder: Path) -> None:
    (folder / "m.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
    load_metrics(folder / "m.yaml", SOUND.tables)


def _configuration(text: str, folder: Path) -> None:
    (folder / "wayline.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
    load_config(folder / "wayline.yaml")


def _registry(text: str, folder: Path) -> None:
    (folder / "schemas.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
    load_registry(folder)


KINDS: dict[str, tuple[str, Callable[[str, Path], object]]] = {
    "identity": ((SHIPPED / "identity.yaml").read_text(), lambda text, _: parse_rules(parse(text, "x.yaml"))),
    "ontology": ((SHIPPED / "journey.yaml").read_text(), _ontology),
    "policies": ((SHIPPED / "policies" / "default.yaml").read_text(), _policies),
    "metrics": ((SHIPPED / "metrics.yaml").read_text(), _metrics),
    "mapping": (
        (SHIPPED / "mappings" / "hubspot.yaml").read_text(),
        lambda text, _: parse_mapping(parse(text, "x.yaml")),
    ),
    "configuration": (CONFIGURATION, _configuration),
    "registry": (INDEX, _registry),
}
DOCUMENTS = {kind: parse(text, "x.yaml").plain() for kind, (text, _) in KINDS.items()}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a document."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


def changed(document: Any, chance: random.Random) -> Any:
    """A copy in which something is replaced, left out, doubled, renamed or put elsewhere."""
    found = copy.deepcopy(document)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        *way, last = chance.choice(list(places(found)))
        inside = found
        for step in way:
            inside = inside[step]
        action = chance.randrange(6)
        if action <= 2:
            inside[last] = copy.deepcopy(chance.choice(JUNK))
        elif action == 3:
            del inside[last]
        elif action == 4 and isinstance(inside, list):
            inside.append(copy.deepcopy(inside[last]))
        elif isinstance(inside, dict):
            inside[str(chance.choice(JUNK))[:40]] = inside.pop(last)
        if not list(places(found)):
            break
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_as_it_is_shipped_is_read(kind: str, tmp_path: Path) -> None:
    text, read = KINDS[kind]
    read(text, tmp_path)
    read(yaml.safe_dump(DOCUMENTS[kind]), tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(seed=st.integers(0, 1 << 40))
def test_a_changed_file_is_read_or_refused(kind: str, seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    text = yaml.safe_dump(changed(DOCUMENTS[kind], random.Random(seed)), allow_unicode=True)
    with contextlib.suppress(ConfigurationError):
        KINDS[kind][1](text, tmp_path_factory.mktemp("changed"))
