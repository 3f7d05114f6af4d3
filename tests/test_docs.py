"""The pages under docs/: links lead somewhere, decisions are numbered and listed, no place of one computer is named."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
ADRS = sorted(path for path in (ROOT / "docs" / "adr").glob("*.md") if path.name != "README.md")


def anchors(page: Path) -> set[str]:
    """The anchors that a reader's browser makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_to_a_page_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.is_file(), target
        assert not anchor or anchor in anchors(linked), target


def test_decisions_are_numbered_once_and_listed_with_their_titles() -> None:
    index = (ROOT / "docs" / "adr" / "README.md").read_text(encoding="utf-8")
    numbers = Counter(path.name[:4] for path in ADRS)
    assert [number for number, n in numbers.items() if n > 1] == []
    for path in ADRS:
        title = re.match(r"# (\d+)\. (.+)\n", path.read_text(encoding="utf-8"))
        assert title is not None, path.name
        assert int(title[1]) == int(path.name[:4])
        assert f"| [{int(title[1])}]({path.name}) | {title[2]} |" in index


@pytest.mark.parametrize("path", ADRS, ids=lambda p: p.name)
def test_a_decision_says_context_decision_and_consequences(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_no_page_names_a_place_of_one_computer(page: Path) -> None:
    assert not re.findall(r"(?:^|[\s`(\"'])/(?:home|root|Users|mnt|work|tmp)/\S*", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_prose_is_wrapped(page: Path) -> None:
    code = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        code ^= line.startswith("```")
        assert code or line.startswith("|") or len(line) <= 120, f"{page.name}:{number}"
