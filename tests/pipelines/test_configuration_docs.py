"""docs/configuration.md knows every key, default and variable, and its example is a valid configuration."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from contracts.documents import parse_duration
from contracts.event import SECOND
from pipelines import config, telemetry
from pipelines.commands.run import command
from pipelines.config import SHIPPED, ProjectConfig, load_config
from transforms import keys
from transforms.channels import config as channels
from transforms.secret import SecretReference
from transforms.stores.database import StoreAddress

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")


def rows(heading: str) -> dict[str, list[str]]:
    """First column to the others, of the first table after a heading; several names in a cell are a row each."""
    table = TEXT.split(heading, 1)[1]
    found: dict[str, list[str]] = {}
    for line in re.findall(r"^\| (`.+) \|$", table.split("\n## ", 1)[0], re.MULTILINE):
        cells = line.split(" | ")
        for name in re.findall(r"`([^`]+)`", cells[0]):
            found[name] = cells[1:]
    return found


def value(text: str) -> Any:
    """A default as the page writes it."""
    bare = re.findall(r"`([^`]+)`", text)[0]
    if re.fullmatch(r"\d+", bare):
        return int(bare)
    if re.fullmatch(r"\d+\w+", bare):
        return parse_duration(bare)
    return tuple(re.findall(r'"([^"]+)"', bare))


def test_every_key_of_the_file_is_explained_and_no_other() -> None:
    explained = {name.split(".")[0] for name in rows("# Configuration")}
    assert explained == set(config._KEYS)


def test_defaults_are_those_of_the_code() -> None:
    default = ProjectConfig()
    names = {"actions.max_age": "action_max_age", "shards.strand": "strand_shards", "shards.journey": "journey_shards"}
    checked = set()
    for key, (stated, *_) in rows("# Configuration").items():
        if stated.startswith("`"):
            assert value(stated) == getattr(default, names.get(key, key)), key
            checked.add(names.get(key, key))
    files = {"ontology", "identity", "policies", "mappings", "metrics", "scenarios"}
    told_in_words = {*files, "session_by", "channels", "store", "online_redis"}
    assert checked | told_in_words == {field.name for field in fields(ProjectConfig)}


def test_every_key_of_a_channel_is_explained_and_no_other() -> None:
    explained = rows("## Channels")
    assert set(explained) == set(channels._WEBHOOK)
    assert {name for name, cells in explained.items() if cells[0] == "all"} == set(channels._COMMON)
    assert all(f"`{kind}`" in explained["type"][2] for kind in channels.TYPES)
    default = channels.ChannelConfig()
    assert value(explained["attempts"][1]) == default.attempts
    assert value(explained["timeout"][1]) == default.timeout == 5 * SECOND


def test_the_example_is_a_valid_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```yaml configuration\n(.*?)```", TEXT, re.DOTALL)
    for shipped in ("journey.yaml", "identity.yaml", "metrics.yaml", "policies/default.yaml"):
        (tmp_path / Path(shipped).name).write_bytes((SHIPPED / shipped).read_bytes())
    for folder in ("mappings", "scenarios"):
        (tmp_path / folder).mkdir()
    (tmp_path / "wayline.yaml").write_text(example, encoding="utf-8")
    monkeypatch.chdir(tmp_path.parent)
    loaded = load_config(tmp_path / "wayline.yaml")
    assert loaded.identity == tmp_path / "identity.yaml"
    assert set(config._KEYS) == {line.split(":")[0] for line in example.splitlines() if line[:1].isalpha()}
    assert loaded.channels.named["sales"].retry_in_doubt
    assert loaded.store == StoreAddress(postgres=SecretReference(env="WAYLINE_STORE_URL"))
    assert loaded.online_redis == SecretReference(env="WAYLINE_ONLINE_URL")


def test_every_variable_is_named() -> None:
    named = set(rows("## Environment"))
    ours = {
        f"{variable}{suffix}"
        for variable in (keys.PSEUDONYM_KEY_VARIABLE, keys.DEAD_LETTER_KEY_VARIABLE)
        for suffix in ("", "_FILE")
    }
    assert ours | set(telemetry.SWITCHES) <= named
    assert {name for name in named if name.startswith("WAYLINE_")} == ours


def test_options_that_the_page_names_exist() -> None:
    known = {option for parameter in command.params for option in parameter.opts}
    assert set(re.findall(r"`(--[a-z-]+)", TEXT)) <= known
