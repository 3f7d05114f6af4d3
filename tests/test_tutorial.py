"""The tutorial does what it says, word by word; every command that a guide or the README shows exists."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import click
import pytest

from pipelines.cli import wayline

ROOT = Path(__file__).parents[1]
TUTORIAL = ROOT / "docs" / "tutorial.md"
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "COLUMNS": "100",
    "TERM": "dumb",
}


def shows(said: str, printed: str) -> bool:
    """Whether PRINTED is what the page shows: `…` is any text, on a line of its own any lines; blanks do not count."""
    parts = []
    for line in said.strip().splitlines():
        words = " ".join(line.split())
        parts.append(r"(?:.*\n)*?" if words == "…" else re.escape(words).replace("…", ".*") + r"\n")
    lines = "".join(" ".join(line.split()) + "\n" for line in printed.splitlines() if line.strip())
    return re.fullmatch("".join(parts), lines) is not None


def test_what_a_page_shows_is_compared() -> None:
    assert shows("a …\n…\nd", "a 1\n\nb\nc\n  d\n")
    assert not shows("a …\n…\nd", "a 1\nb\nd\ne\n")
    assert not shows("a", "a\nb\n")


def sh(commands: str, folder: Path) -> str:
    """What the commands print, both ways, in FOLDER; each of them must succeed."""
    done = subprocess.run(
        ["bash", "-ec", commands],
        cwd=folder,
        env=ENVIRONMENT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}"
    return done.stdout


def edit(file: Path, change: str) -> None:
    """Takes the lines marked - out of FILE, where they stand once, and puts those marked + in their place."""
    old = "".join(f"{line[1:]}\n" for line in change.splitlines() if line.startswith("-"))
    new = "".join(f"{line[1:]}\n" for line in change.splitlines() if line.startswith("+"))
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file.name} does not have once:\n{old}\n{text}"
    file.write_text(text.replace(old, new), encoding="utf-8")


def serve(command: str, folder: Path) -> str:
    """The page that a server gives, at any free port and without a browser, before it is ended as by Ctrl-C."""
    server = subprocess.Popen(
        [*shlex.split(command), "--port", "0", "--no-open"],
        cwd=folder,
        env={**ENVIRONMENT, "PYTHONUNBUFFERED": "1"},
        text=True,
        stdout=subprocess.PIPE,
    )
    try:
        assert server.stdout is not None
        address = re.search(r"http://\S+", server.stdout.readline())
        assert address is not None
        with urllib.request.urlopen(address[0], timeout=60) as page:
            return str(page.read().decode())
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=60)


@pytest.mark.long
def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    folder = tmp_path
    printed = ""
    for kind, name, text in BLOCK.findall(TUTORIAL.read_text(encoding="utf-8")):
        match kind, name:
            case "sh", "setup":
                printed = sh("wayline --version", folder)
            case "sh", "serve":
                assert "<html" in serve(text, folder)
            case "sh", "":
                printed = sh(text, folder)
                if moved := re.search(r"^cd (\w+)$", text, re.MULTILINE):
                    folder = folder / moved[1]
            case "text", "output":
                assert shows(text, printed), f"the page says:\n{text}\nprinted was:\n{printed}"
            case "diff", _:
                edit(folder / name, text)
            case _:
                (folder / name).write_text(text, encoding="utf-8")
    page = (folder / "after" / "report.html").read_text(encoding="utf-8")
    assert "first_order_note" in page
    assert "mara" not in page


def commands(page: Path) -> list[str]:
    """Every `wayline …` line in the fenced blocks of a page."""
    found = []
    for text in re.findall(r"^```[^\n]*\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        found += re.findall(r"^(?:\.venv/bin/)?(wayline .+)$", text.replace("\\\n", " "), re.MULTILINE)
    return found


def parse(line: str) -> None:
    """Errors: click's own, when the command, an option, its value or an argument is not one of the command line."""
    command: click.Command = wayline
    context: click.Context | None = None
    name, words = "wayline", shlex.split(line, comments=True)[1:]
    while isinstance(command, click.Group):
        context = click.Context(command, info_name=name, parent=context)
        _, words, _ = command.make_parser(context).parse_args(words)
        if not words:
            return
        found, inner, words = command.resolve_command(context, words)
        assert inner is not None
        name, command = found or name, inner
    command.make_context(name, words, parent=context)


@pytest.mark.parametrize("page", [ROOT / "README.md", TUTORIAL, *GUIDES], ids=lambda p: p.stem)
def test_every_command_that_a_page_shows_parses(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = commands(page)
    assert lines
    for line in lines:
        try:
            parse(line)
        except click.UsageError as error:
            pytest.fail(f"{page.name}: {line}: {error.format_message()}")


@pytest.mark.parametrize("line", ["wayline rum --out o", "wayline query --output o 'SELECT 1'", "wayline journey"])
def test_a_command_that_does_not_exist_is_found(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse(line)
