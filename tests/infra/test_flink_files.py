"""The files of a Flink cluster, as far as they can be checked without containers: well formed and of one version."""

from __future__ import annotations

import re
import shlex
import tomllib
import xml.etree.ElementTree as ElementTree
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.commands.stream import command

ROOT = Path(__file__).resolve().parents[2]
FLINK = ROOT / "infra" / "flink"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
COMPOSE: dict[str, Any] = yaml.safe_load((FLINK / "compose.yaml").read_text(encoding="utf-8"))
CONFIG: dict[str, Any] = yaml.safe_load((FLINK / "config.yaml").read_text(encoding="utf-8"))


def instructions() -> list[tuple[str, list[str]]]:
    """(instruction, words) of the Dockerfile, comments and continued lines resolved."""
    lines = (FLINK / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#")).replace("\\\n", " ")
    found = [shlex.split(line) for line in text.splitlines() if line.strip()]
    return [(words[0], words[1:]) for words in found]


STAGES = {words[2] for name, words in instructions() if name == "FROM"}
ARGUMENTS = dict(words[0].split("=") for name, words in instructions() if name == "ARG")
COPIES = [words for name, words in instructions() if name == "COPY" and not words[0].startswith("--from")]
COPIED = [word for words in COPIES for word in words[:-1] if not word.startswith("--")]


def locked(package: str) -> str:
    """The version that the lock file installs."""
    found = re.search(rf"^{package}==(\S+)", (ROOT / "locks" / "runtime.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    return found[1]


def test_the_images_have_the_versions_of_the_lock_file_and_of_the_job_server() -> None:
    pom = ElementTree.parse(FLINK / "pom.xml").getroot()
    artifacts = [node.text or "" for node in pom.iter() if node.tag.endswith("artifactId")]
    assert ARGUMENTS["BEAM"] == locked("apache-beam")
    assert f"beam-runners-flink-{ARGUMENTS['FLINK']}" in artifacts
    assert f"Programming Language :: Python :: {ARGUMENTS['PYTHON']}" in PROJECT["project"]["classifiers"]


@pytest.mark.parametrize("source", COPIED)
def test_what_an_image_copies_is_there_and_not_ignored(source: str) -> None:
    assert (ROOT / source).exists()
    lines = (FLINK / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    ignored = False
    for line in (line for line in lines if line and not line.startswith("#")):
        pattern = line.removeprefix("!")
        parents = [source, *(str(parent) for parent in Path(source).parents)]
        if any(fnmatch(path, pattern) for path in parents if path != "."):
            ignored = not line.startswith("!")
    assert not ignored


def test_the_worker_has_every_package_of_the_project() -> None:
    packages = {name.rstrip("*") for name in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages <= set(COPIED)


def test_every_stage_that_is_named_comes_before_it_is_used() -> None:
    seen: set[str] = set()
    for name, words in instructions():
        if name == "FROM":
            base = words[0]
            assert base in seen or ":" in base, f"{base} is neither a stage nor an image with a version"
            assert set(re.findall(r"\$\{(\w+)\}", base)) <= ARGUMENTS.keys()
            seen.add(words[2])
        elif name == "COPY" and words[0].startswith("--from="):
            assert words[0].removeprefix("--from=") in seen


def test_the_services_are_built_from_stages_under_the_projects_version() -> None:
    services = COMPOSE["services"]
    for name, service in services.items():
        if "build" in service:
            assert service["build"]["target"] in STAGES
            assert (FLINK / service["build"]["context"]).resolve() == ROOT
            assert (ROOT / service["build"]["dockerfile"]).is_file()
            assert service["image"].endswith(f":{PROJECT['project']['version']}"), name
        assert set(service.get("depends_on", ())) <= services.keys()
        for volume in service.get("volumes", ()):
            assert volume.split(":")[0] in COMPOSE["volumes"]


def test_a_worker_is_found_where_the_job_looks_for_it() -> None:
    worker = COMPOSE["services"]["worker"]
    assert worker["network_mode"] == "service:taskmanager"
    assert worker["command"] == "--worker_pool"
    assert "--environment_config=localhost:50000" in (FLINK / "README.md").read_text(encoding="utf-8")


def test_flink_is_configured_for_the_cluster_and_keeps_its_checkpoints_where_all_see_them() -> None:
    assert CONFIG["jobmanager"]["rpc"]["address"] in COMPOSE["services"]
    mounted = {volume.split(":")[1] for name in ("jobmanager", "taskmanager", "worker", "launcher")
               for volume in COMPOSE["services"][name]["volumes"]}  # fmt: skip
    assert mounted == {"/data"}
    assert CONFIG["state"]["checkpoints"]["dir"].startswith("file:///data/")
    assert CONFIG["execution"]["checkpointing"]["externalized-checkpoint-retention"] == "RETAIN_ON_CANCELLATION"


def test_the_command_of_the_page_is_one_that_the_launcher_takes() -> None:
    page = (FLINK / "README.md").read_text(encoding="utf-8")
    block = page.split("```")[1].replace("\\\n", " ")
    line = next(line for line in block.splitlines() if " launcher stream " in line)
    arguments = shlex.split(line.split(" launcher stream ")[1])
    parsed = command.make_context("stream", arguments).params
    assert parsed["flink_master"].split(":")[0] in COMPOSE["services"]
    assert [option.split("=")[0] for option in parsed["beam"]] == ["--environment_type", "--environment_config"]
