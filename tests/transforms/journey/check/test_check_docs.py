"""docs/ontology_check.md names every rule with what it finds, in the words of the code."""

from __future__ import annotations

import re
from pathlib import Path

from transforms.journey.check.rules import RULES

PAGE = Path(__file__).parents[4] / "docs" / "ontology_check.md"


def test_the_page_lists_every_rule() -> None:
    table = PAGE.read_text(encoding="utf-8").split("<!-- rules -->\n")[1].split("<!-- /rules -->")[0]
    assert dict(re.findall(r"^\| `([a-z-]+)` \| [^|]+ \| (.+) \|$", table, re.MULTILINE)) == RULES
