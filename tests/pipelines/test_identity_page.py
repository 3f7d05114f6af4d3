"""docs/identity_commands.md shows what the commands say: its events are run, its commands called, in their order."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from run_world import KEY, event, write_events

from pipelines.cli import wayline
from pipelines.commands.times import micros

PAGE = Path(__file__).parents[2] / "docs" / "identity_commands.md"
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str, str]]:
    return BLOCK.findall(PAGE.read_text(encoding="utf-8"))


def prepare(folder: Path) -> None:
    """The key, the events and the other files of the page, in a folder."""
    keys = folder / "out" / "keys"
    keys.mkdir(parents=True)
    (keys / "pseudonym.key").write_text(KEY, encoding="ascii")
    for kind, name, text in blocks():
        if kind == "json":
            rows = [json.loads(line) for line in text.splitlines()]
            records = [event(row["id"], row["name"], _time(row["time"]), row["identifiers"]) for row in rows]
            write_events(folder / "events" / "events.avro", records)
        elif name:
            (folder / name).write_text(text, encoding="utf-8")


def _time(text: str) -> int:
    from datetime import datetime

    return micros(datetime.fromisoformat(text))


def calls() -> list[tuple[list[str], list[str]]]:
    """Each command with the lines that the page shows below it."""
    found: list[tuple[list[str], list[str]]] = []
    for kind, _, text in blocks():
        if kind != "console":
            continue
        for line in text.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                found.append((shlex.split(line[2:]), []))
            else:
                found[-1][1].append(line.rstrip())
    return found


def outputs(folder: Path) -> list[list[str]]:
    """What the commands of the page say."""
    from pipelines.config import SHIPPED

    said = []
    for words, _ in calls():
        if words[0] == "sed":
            text = (SHIPPED / "identity.yaml").read_text(encoding="utf-8")
            _, old, new, _ = words[1].split("/")
            assert old in text
            (folder / "new.yaml").write_text(text.replace(old, new), encoding="utf-8")
            said.append([])
            continue
        assert words[0] == "wayline"
        result = CliRunner().invoke(wayline, words[1:])
        assert result.exit_code == 0, (words, result.output, result.exception)
        said.append([line.rstrip() for line in result.output.splitlines()])
    return said


def test_the_page_shows_what_the_commands_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path)
    for (words, expected), found in zip(calls(), outputs(tmp_path), strict=True):
        if expected:
            assert list(map(_unversioned, found)) == list(map(_unversioned, expected)), words


def _unversioned(line: str) -> str:
    """Without the version of the shipped rules, which changes with every word of them."""
    return re.sub(r"default@[0-9a-f]{12}", "default@…", line)


def test_every_command_of_the_group_is_on_the_page() -> None:
    from pipelines.commands.identity import command

    shown = {words[2] for words, _ in calls() if words[:2] == ["wayline", "identity"]}
    assert shown == set(command.commands)
