"""docs/identity.md teaches what the core does: its files parse, its examples and tables are what resolution says."""

from __future__ import annotations

import re
from typing import NamedTuple

import identity_page as page
import identity_world as world
import pytest
from hypothesis import HealthCheck, given, settings
from identity_world import Seen, ident, links_of

from transforms.identity import demotion, owners, partition, rules_file, union, values
from transforms.identity.resolve import STATUSES, resolve
from transforms.identity.rules import OWNER_POLICIES, IdentityRules

EXAMPLES = re.findall(r"^```text example (\w+)([^\n]*)\n(.*?)^```$", page.TEXT, re.MULTILINE | re.DOTALL)
_PARTS = ("persons", "ledger", "erased")


class Example(NamedTuple):
    rules: IdentityRules
    events: list[Seen]
    parts: dict[str, list[str]]


def example(name: str, changes: str, body: str) -> Example:
    """An example of the page: events, then what is said of them in parts; ``changes`` are keys of the rules file."""
    replaced = []
    for change in changes.split():
        key, _, value = change.partition("=")
        held = re.search(rf"^{key}: .*$", page.FILES[name], re.MULTILINE)
        replaced.append((held[0], f"{key}: {value}") if held else ("name: default", f"name: default\n{key}: {value}"))
    events, parts = [], dict[str, list[str]]()
    for line in body.splitlines():
        if line.startswith("-- "):
            parts[line[3:]] = []
        elif parts:
            parts[list(parts)[-1]].append(" ".join(line.split()))
        else:
            time, event, *names = line.split()
            events.append(Seen(page.time_of(time), " ".join(names), name=event))
    assert set(parts) <= set(_PARTS)
    return Example(page.rules_of(name, *replaced), events, parts)


def section(title: str) -> str:
    return page.TEXT.split(f"\n{title}\n", 1)[1].split("\n## ", 1)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of the table rows of a text, without heads and rules."""
    found = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    heads = [n - 1 for n, row in enumerate(found) if set("".join(row)) <= set("-|")]
    return [row for n, row in enumerate(found) if n not in heads and n - 1 not in heads]


# --- examples ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "changes", "body"), EXAMPLES, ids=[e[2].split("\n")[0] for e in EXAMPLES])
def test_what_an_example_says_is_what_resolution_says(name: str, changes: str, body: str) -> None:
    rules, events, parts = example(name, changes, body)
    for order in (events, events[::-1]):
        resolution = page.resolved(rules, *order)
        assert page.persons(rules, *order) == page.groups(*parts["persons"])
        ledger = [
            f"{':'.join(e.left)} {':'.join(e.right)} {e.kind} | {e.status} {e.rule}"
            + (f" {':'.join(e.conflict)}" if e.conflict else "")
            for e in resolution.edges()
        ]
        assert sorted(ledger) == sorted(parts["ledger"])
        erased = [f"{':'.join(identifier)} {until}" for identifier, until in resolution.erasures()]
        assert sorted(erased) == sorted(parts.get("erased", []))


def test_the_page_has_examples_of_everything_that_people_ask_for() -> None:
    assert len(EXAMPLES) >= 8
    names = {event.name for e in EXAMPLES for event in example(*e).events}
    kinds = page.rules_of("shipped").kinds
    assert {kinds.get(name, "erase" if name == "erasure_requested" else "seen") for name in names} >= {
        "seen",
        "alias",
        "merge",
        "unlink",
        "erase",
    }


TABLES = re.findall(r"^\| time \| event \|.*?(?=^$)", section("## Owners"), re.MULTILINE | re.DOTALL)
NAMES = {"d": "anonymous_id:d", "ann": "user_id:ann", "bob": "user_id:bob"}


def seen(row: list[str]) -> Seen:
    """The event of a row of an owners' table."""
    return Seen(page.time_of(row[0]), " ".join(NAMES[name] for name in row[2].split()), name=row[1])


def under(policy: str) -> IdentityRules:
    """The shipped rules with another owner policy."""
    (shipped,) = re.findall(r"^owner: .*$", page.SHIPPED, re.MULTILINE)
    return page.rules_of("shipped", (shipped, f"owner: {policy}"))


@pytest.mark.parametrize("table", TABLES, ids=range(len(TABLES)))
@pytest.mark.parametrize("policy", OWNER_POLICIES)
def test_the_owner_of_each_event_of_the_page_is_what_its_table_says(table: str, policy: str) -> None:
    head = [cell.strip(" `") for cell in table.splitlines()[0].strip("|").split("|")]
    assert head[3:] == list(OWNER_POLICIES)
    rules = under(policy)
    told = [dict(zip(head, row, strict=True)) for row in rows(table)]
    events = [seen(row) for row in rows(table)]
    assert page.owners(rules, *events) == {page.time_of(r["time"]): NAMES[r[policy]] for r in told}
    in_time = sorted(events, key=lambda event: event.time)
    assert page.owners(rules, *in_time) == page.owners(rules, *events)


def test_each_owner_policy_differs_from_each_other_in_some_table_of_the_page() -> None:
    columns = list(zip(*(row[3:] for table in TABLES for row in rows(table)), strict=True))
    assert len(set(columns)) == len(OWNER_POLICIES)


@pytest.mark.parametrize("policy", OWNER_POLICIES)
def test_before_the_late_login_arrives_every_event_is_the_only_users(policy: str) -> None:
    rules = under(policy)
    assert set(page.owners(rules, *map(seen, rows(TABLES[1])[:-1])).values()) == {"user_id:bob"}


# --- tables --------------------------------------------------------------------------------------------------------


def test_the_page_names_every_key_of_the_file_in_order() -> None:
    text = section("## The file")
    root, namespace = text.split("Of a namespace:")
    named = [[re.match(r"`(\w+)`", row[0]) for row in rows(part)] for part in (root, namespace.split("Blocked")[0])]
    found = [[match[1] for match in part if match] for part in named]
    assert sorted(found[0]) == sorted(rules_file._KEYS)
    assert sorted(found[1]) == sorted(rules_file._NAMESPACE_KEYS)
    steps = next(row for row in rows(namespace) if row[0] == "`normalise`")[1]
    assert sorted(re.findall(r"`(\w+)`", steps)) == sorted(values.NORMALISERS)
    said = {row[0].strip("`") for row in rows(section("## What people ask for"))}
    assert said == {*rules_file._EVENT_KINDS, rules_file.ERASE}


def test_the_page_names_every_value_that_is_blocked_by_default() -> None:
    text = section("## The file").split("Blocked by default")[1]
    named = set(re.findall(r"`([^`]+)`", text))
    assert values.DEFAULT_BLOCKED_VALUES - {""} <= named
    assert str(values.MAX_LENGTH) in text
    shipped = page.rules_of("shipped")
    for value in named - {"test@", "noreply@", "no-reply@", "example", "test", "invalid", "localhost", "within"}:
        assert shipped.normalise(ident(f"user_id:{value}")) is None, value


def test_the_owner_policies_of_the_page_are_those_there_are() -> None:
    assert [row[0].strip("`") for row in rows(section("## Owners").split("Device *d*")[0])] == list(OWNER_POLICIES)


LEDGER = [(row[0].strip("`"), row[1], row[3] if len(row) > 3 else "") for row in rows(section("## The ledger"))]


def test_the_ledger_of_the_page_has_every_rule_there_is() -> None:
    there_are = {
        *(partition.UNITED, partition.GROUPED, partition.MERGED, partition.UNLINKED),
        *(owners.ONLY_PERSON, owners.OWNER, owners.MERGED, owners.MERGED_WITH_ANOTHER, *OWNER_POLICIES),
        *(union.COMPONENT_SIZE, union.BARRED, f"{union.LIMIT}:NAMESPACE", demotion.DEMOTED, demotion.CROWDED),
    }
    assert {rule for rule, _, _ in LEDGER} == there_are
    assert {status for _, status, _ in LEDGER} == set(STATUSES)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(world.worlds(erasing=False, max_size=16), world.any_rules)
def test_no_edge_has_a_rule_status_or_conflict_that_the_page_does_not_have(
    events: list[Seen], rules: IdentityRules
) -> None:
    has_conflict = {(rule, status): conflict.strip(" |") != "" for rule, status, conflict in LEDGER}
    for edge in resolve(links_of(events, rules), rules).edges():
        rule = "limit:NAMESPACE" if edge.rule.startswith("limit:") else edge.rule
        status = "refused" if edge.kind == "unlink" and rule in ("demoted", "crowded") else edge.status
        assert (edge.conflict is not None) == has_conflict[rule, status], edge


def test_every_file_of_the_page_parses_and_has_the_name_of_its_section() -> None:
    text = section("## If you come from elsewhere")
    names = [title.lower() for title in re.findall(r"^### (\w+)$", text, re.MULTILINE)]
    assert names == [name for name in page.FILES if name != "shipped"]
    assert [page.rules_of(name).name for name in names] == names
