"""A stream reads the registries again and again: now and then, whole, and never less than it read before."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from model_world import STAGES, TrainedWorld

from contracts.errors import ConfigurationError
from features.journey_features import FEATURE_NAMES
from models.activations import Activations, write_activations
from models.evaluation import Gates
from models.in_force import LOOK_EVERY, Registries
from models.ontology_registry import OntologyRegistry
from models.registry import ModelRegistry
from pipelines.config import SHIPPED
from transforms.journey.dated import NOTHING, Activated
from transforms.journey.ontology import Ontology, load_ontology
from transforms.journey.ontology_file import parse_ontology

GIVEN = load_ontology(SHIPPED / "journey.yaml")
EASY = parse_ontology(GIVEN.source.replace("entry: {intent: 2.0}", "entry: {intent: 0.6}"), "easy.yaml")
_AT, _END = GIVEN.source.index("  - name: consideration"), GIVEN.source.index("  - name: decision")
THREE = parse_ontology(GIVEN.source[:_AT] + GIVEN.source[_END:], "three.yaml")
LATER, LATEST = 2_000_000, 3_000_000


def activate(root: Path, ontology: Ontology, at: int) -> None:
    OntologyRegistry(root).activate(ontology, GIVEN, active_from=at, reason="", now=0)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_records_are_looked_for_every_so_many_seconds_or_at_once(tmp_path: Path) -> None:
    clock = Clock()
    found = Registries(tmp_path, GIVEN, clock)
    assert found.known() == NOTHING
    activate(tmp_path, EASY, LATER)
    assert found.known() == NOTHING, "it is not time to look"
    clock.now += LOOK_EVERY
    assert found.known() == Activated(2, 0), "the first activation records the project's file too"
    activate(tmp_path, GIVEN, LATEST)
    assert found.known(at_once=True) == Activated(3, 0)


def test_so_many_records_say_what_is_in_force_whatever_was_added_since(tmp_path: Path) -> None:
    activate(tmp_path, EASY, LATER)
    found = Registries(tmp_path, GIVEN)
    activate(tmp_path, GIVEN, LATEST)
    one, all_of_them = found.force(Activated(2, 0)), found.force(Activated(3, 0))
    assert [one.ontologies.version_at(at) for at in (0, LATER, LATEST)] == [GIVEN.version, EASY.version, EASY.version]
    assert all_of_them.ontologies.version_at(LATEST) == GIVEN.version
    assert found.force(NOTHING).ontologies.version_at(LATEST) == GIVEN.version
    assert found.since(Activated(2, 0), Activated(3, 0)) == LATEST


def test_models_are_followed_likewise_and_none_scores_as_nothing(trained_world: TrainedWorld) -> None:
    root = trained_world.out / "registry"
    found = Registries(root, GIVEN)
    assert found.force(found.known()).score is None
    models = ModelRegistry(root)
    version = trained_world.trained.model.version
    models.promote(version, stages=STAGES, active_from=50, reason="", now=0, gates=Gates(max_ece=1.0))
    models.rollback(active_from=70, reason="", now=0)
    assert found.known(at_once=True) == Activated(0, 2)
    points = np.array([49, 50, 70]), np.ones((3, len(FEATURE_NAMES)))
    scored = found.force(Activated(0, 1)).score
    rolled_back = found.force(Activated(0, 2)).score
    assert scored is not None
    assert rolled_back is not None
    assert scored(*points)[0] == [None, version, version]
    assert rolled_back(*points)[0] == [None, version, None]
    assert found.since(NOTHING, Activated(0, 2)) == 50


def test_an_ontology_with_other_stages_than_the_projects_is_followed(tmp_path: Path) -> None:
    found = Registries(tmp_path, GIVEN)
    activate(tmp_path, THREE, LATEST)
    dated = found.force(found.known(at_once=True)).ontologies
    assert [dated.at(at).stage_names for at in (LATEST - 1, LATEST)] == [GIVEN.stage_names, THREE.stage_names]
    assert found.refusal == ""


def test_what_was_folded_before_the_first_activation_was_folded_by_the_file_of_then(tmp_path: Path) -> None:
    activate(tmp_path, THREE, LATER)
    # by now the project names the file that was activated
    before = Registries(tmp_path, THREE).force(NOTHING).ontologies
    assert [before.version_at(at) for at in (0, LATER)] == [GIVEN.version, GIVEN.version]


def test_what_cannot_be_followed_leaves_in_force_what_is_and_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    activate(tmp_path, THREE, LATER)
    kept = (tmp_path / "ontology.json").read_text()
    found = Registries(tmp_path, GIVEN)
    of_three = Activations().activated("m1", LATEST, "", 0)
    write_activations(tmp_path / "champion.json", of_three)
    with caplog.at_level(logging.WARNING):
        assert [found.known(at_once=True) for _ in range(2)] == [Activated(2, 0)] * 2
    (said,) = (record.message for record in caplog.records)
    assert said.startswith("not followed, what was in force stays: model m1 is in force with the stages discovery, dec")
    assert "but the stream began with discovery, consideration" in said
    assert found.refusal in said
    write_activations(tmp_path / "champion.json", of_three.activated(None, LATEST, "", 0))
    assert found.known(at_once=True) == Activated(2, 2), "in the end no model is in force"
    assert found.refusal == ""
    activate(tmp_path, THREE, LATEST)
    assert found.known(at_once=True) == Activated(3, 2)
    (tmp_path / "ontology.json").write_text(kept)
    assert found.known(at_once=True) == Activated(3, 2)
    assert "lost records" in found.refusal


def test_a_process_that_begins_meanwhile_goes_on_by_all_that_can_be_followed(tmp_path: Path) -> None:
    for number, ontology in enumerate((EASY, GIVEN, THREE)):
        activate(tmp_path, ontology, LATER + number)
    path = OntologyRegistry(tmp_path).path_of(THREE.version)
    text = path.read_text()
    path.unlink()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Registries(tmp_path, GIVEN)
    found = Registries(tmp_path, GIVEN, begun=Activated(2, 0))
    assert found.known(at_once=True) == Activated(3, 0)
    assert "cannot be read" in found.refusal
    path.write_text(text)
    assert (found.known(at_once=True), found.refusal) == (Activated(4, 0), "")


def test_a_shard_that_was_folded_by_records_that_are_lost_is_refused(tmp_path: Path) -> None:
    write_activations(tmp_path / "champion.json", Activations())
    with pytest.raises(ConfigurationError, match="fewer records of activations than the stream was folded by"):
        Registries(tmp_path, GIVEN).force(Activated(0, 1))
