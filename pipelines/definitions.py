"""What a project defines: configuration, ontology and policies, read and checked together. Imports no engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from contracts.tables import FIXED_TABLES, Table, feature_tables
from features.journey_features import FEATURE_NAMES, feature_columns
from pipelines.config import ProjectConfig, load_config
from transforms.decide.policy import load_policies, policy_vocabulary
from transforms.decide.rules import PolicySet
from transforms.identity.rules_file import load_rules
from transforms.journey.facts import FACTS
from transforms.journey.ontology import Ontology, load_ontology


@dataclass(frozen=True)
class Definitions:
    """The files of a project, read and checked together."""

    config: ProjectConfig
    ontology: Ontology
    policies: PolicySet

    @property
    def tables(self) -> tuple[Table, ...]:
        """Every table of OUT, also those whose columns come from features and stages."""
        return (*FIXED_TABLES, *feature_tables(feature_columns(), self.ontology.stage_names))


def load_definitions(config: Path | None, session_by: str | None = None) -> Definitions:
    """Read configuration, ontology and policies. Raises ConfigurationError with file and line.

    Events that ask something of identity, by the identity rules, are records to the ontology.
    """
    loaded = load_config(config)
    requests = load_rules(loaded.identity).administrative
    ontology = load_ontology(loaded.ontology, session_by or loaded.session_by).with_administrative(requests)
    vocabulary = policy_vocabulary(FEATURE_NAMES, FACTS)
    policies = load_policies(loaded.policies, vocabulary, ontology.stage_names)
    return Definitions(loaded, ontology, policies)
