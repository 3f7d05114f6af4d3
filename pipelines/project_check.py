"""Everything that can be said of the files of a project, all at once: what ``wayline check`` tells.

Input: the path of a configuration, None for the shipped defaults. Output: ``ProjectCheck``: each finding with file,
line, severity, rule and the way to mend it, and how many files of each kind were read. A file that cannot be read is
one finding, of its first fault (of the configuration: of each key); the other files are read all the same, and what
rests on it is said to be unchecked. Errors, state: none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from contracts.errors import ConfigurationError
from contracts.tables import FIXED_TABLES, feature_tables
from features.journey_features import FEATURE_NAMES, feature_columns
from pipelines.config import ProjectConfig, read_config, yaml_files
from pipelines.scenarios.scenario import Scenario, Worlds, cached_worlds, read_scenarios
from sources.importer.advice import advise
from sources.importer.mapping import Mapping
from sources.importer.mapping_file import load_mapping
from transforms.decide.policy import load_policies, policy_vocabulary
from transforms.identity.rules import IdentityRules
from transforms.identity.rules_file import load_rules
from transforms.journey.check.findings import check as check_ontology
from transforms.journey.check.rules import ERROR, NOTE, Finding
from transforms.journey.facts import FACTS
from transforms.journey.ontology import Ontology, load_ontology
from transforms.tables.metrics import load_metrics

T = TypeVar("T")

INVALID, UNCHECKED, UNKNOWN = "invalid", "unchecked", "unknown"
"""Rules beside those of ontologies: a file that cannot be used, one that could not be looked at, and what a mapping
says that identity rules or ontology do not know."""


@dataclass
class ProjectCheck:
    """What was found; ``read`` counts the files of each kind that are sound."""

    findings: list[Finding] = field(default_factory=list)
    read: dict[str, int] = field(default_factory=dict)

    def attempt(self, kind: str, work: Callable[[], T], files: int = 1) -> T | None:
        """Read the files of a kind; None and a finding when they are not as they should be."""
        try:
            made = work()
        except ConfigurationError as error:
            self.add(error)
            return None
        self.read[kind] = self.read.get(kind, 0) + files
        return made

    def add(self, error: ConfigurationError) -> None:
        """A finding from what the reader of the file says."""
        place = f"{error.path}:{error.line}: " if error.line else f"{error.path}: "
        said = error.message.removeprefix(place)
        self.findings.append(Finding(INVALID, ERROR, error.path, error.line or 1, said, error.hint))

    def skip(self, path: Path, because: str) -> None:
        """A file that rests on one that cannot be read."""
        self.findings.append(
            Finding(UNCHECKED, NOTE, str(path), 1, f"not checked: {because} cannot be read", "mend that first")
        )


def check_project(path: Path | None) -> ProjectCheck:
    """Check configuration, identity rules, ontology, policies, metrics, mappings and scenarios."""
    found = ProjectCheck()
    config, faults = read_config(path)
    for fault in faults:
        found.add(fault)
    if not faults and path is not None:
        found.read["configuration"] = 1
    rules = found.attempt("identity rules", partial(load_rules, config.identity))
    ontology = _ontology(config, rules, found)
    _policies(config, found, ontology)
    for file in yaml_files(config.mappings):
        mapping = found.attempt("mapping", partial(load_mapping, str(file)))
        if mapping is not None and rules is not None and ontology is not None:
            found.findings += _advice(mapping, rules, ontology)
    if config.scenarios is not None:
        _scenarios(config.scenarios, config, found)
    return found


def _ontology(config: ProjectConfig, rules: IdentityRules | None, found: ProjectCheck) -> Ontology | None:
    """The ontology, with what is administrative by the identity rules; None when it cannot be read."""
    ontology = found.attempt("ontology", partial(load_ontology, config.ontology, config.session_by))
    if ontology is None:
        return None
    if rules is not None:
        ontology = ontology.with_administrative(rules.administrative)
    found.findings += check_ontology(ontology)
    return ontology


def _advice(mapping: Mapping, rules: IdentityRules, ontology: Ontology) -> Iterator[Finding]:
    """What a mapping says that identity rules or ontology do not know."""
    for one in advise(mapping, rules.namespaces, ontology.is_known, sorted(ontology.table.names)):
        severity = ERROR if one.counts else NOTE
        yield Finding(UNKNOWN, severity, mapping.path, one.line, one.text, one.hint)


def _policies(config: ProjectConfig, found: ProjectCheck, ontology: Ontology | None) -> None:
    """Policies and metrics, which speak of the stages of the ontology."""
    if ontology is None:
        for path in (*config.policies, config.metrics):
            found.skip(path, "the ontology")
        return
    vocabulary = policy_vocabulary(FEATURE_NAMES, FACTS)
    stages = ontology.stage_names
    found.attempt("policy", partial(load_policies, config.policies, vocabulary, stages), len(config.policies))
    tables = (*FIXED_TABLES, *feature_tables(feature_columns(), stages))
    found.attempt("metrics", partial(load_metrics, config.metrics, tables))


def _scenarios(folder: Path, config: ProjectConfig, found: ProjectCheck) -> None:
    files = yaml_files(folder)
    bad = {one.path for one in found.findings if one.rule == INVALID}
    used = next((path for path in (config.ontology, config.identity, *config.policies) if str(path) in bad), None)
    if used is not None:
        for file in files:
            found.skip(file, used.name)
        return
    worlds = cached_worlds()
    for file in files:
        found.attempt("scenario file", partial(_told, file, config, worlds))


def _told(file: Path, config: ProjectConfig, worlds: Worlds) -> list[Scenario]:
    return list(read_scenarios(file, config, worlds))
