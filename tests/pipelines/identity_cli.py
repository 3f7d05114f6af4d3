"""What the tests of ``wayline identity`` share: calls of the command line on the outputs of small runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from run_world import HOUR, MINUTE, NOON, Record, Runs, event

from pipelines.cli import wayline
from pipelines.commands.times import shown

ANN = {"user_id": "ann"}
LATER = NOON + 3 * HOUR


def world() -> list[Record]:
    """Ann on a cookie, with a CRM record and an address; Bob on another cookie, who used Ann's address once."""
    return [
        event(1, "home_view", NOON, {"anonymous_id": "a"}),
        event(2, "login", NOON + MINUTE, {"anonymous_id": "a", "user_id": "ann"}),
        event(3, "product_view", NOON + 2 * MINUTE, {"anonymous_id": "a"}),
        event(4, "crm_lead_created", NOON + 3 * MINUTE, {"user_id": "ann", "crm_id": "c9"}),
        event(5, "email_open", NOON + 4 * MINUTE, {"crm_id": "c9", "email": "ann@corp.org"}),
        event(6, "login", NOON + 5 * MINUTE, {"email": "ann@corp.org", "user_id": "bob"}),
        event(7, "home_view", NOON + 6 * MINUTE, {"anonymous_id": "b"}),
        event(8, "login", NOON + 7 * MINUTE, {"anonymous_id": "b", "user_id": "bob"}),
        event(9, "pricing_view", NOON + 8 * MINUTE, {"anonymous_id": "b"}),
    ]


def call(*arguments: str | Path) -> Result:
    """One command, without a process of its own."""
    return CliRunner().invoke(wayline, ["identity", *map(str, arguments)])


def answer(runs: Runs, *arguments: str | Path) -> dict[str, Any]:
    """The JSON answer of a command on an output."""
    result = call(*arguments, "--out", runs.out, "--config", runs.config, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    found = json.loads(result.output)
    assert isinstance(found, dict)
    return found


def ask(runs: Runs, kind: str, one: str, other: str, at: int = LATER) -> dict[str, Any]:
    """A request, dated."""
    return answer(runs, kind, one, other, "--by", "support desk", "--why", "ticket 7", "--at", shown(at))


def run_requests(runs: Runs) -> None:
    """The command that a request names next."""
    runs.run_files(runs.out / "requests")


def parts(runs: Runs) -> set[frozenset[str]]:
    """Who has which events, by the tables: sets of event ids, requests left out."""
    rows: Sequence[Any] = runs.query("SELECT person_id, event_id FROM events WHERE source <> 'wayline identity'")
    found: dict[str, set[str]] = {}
    for person, event_id in rows:
        found.setdefault(person, set()).add(event_id)
    return set(map(frozenset, found.values()))
