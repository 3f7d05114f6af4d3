"""``wayline diff``: whether two output folders hold the same tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.commands.project import project_config

if TYPE_CHECKING:
    from reports.record_replays import RecordReplays
    from reports.table_diff import Difference

_WIDEST = 60
"""Characters of a value that are shown."""


@click.command("diff")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--tables", "names", metavar="NAME,…", help="Only these tables, whatever they depend on.")
@click.option("--all", "every", is_flag=True, help="Also the tables that depend on when something was known.")
@click.option("--ignore", multiple=True, metavar="COLUMN", help="A column not to compare, in any table; repeatable.")
@click.option("--examples", type=click.IntRange(min=0), default=3, show_default=True, help="Examples of each kind.")
@project_config
def command(
    a: Path, b: Path, names: str | None, every: bool, ignore: tuple[str, ...], examples: int, config: Path | None
) -> None:
    """Compare the tables of two output folders by key: what views show, without the number of the revision.

    Decisions, actions and labels depend on what was known when: each folder's are made again from their own records.
    Exit code 0: tables are equal and records come out the same; 9: they do not.
    """
    from contracts.errors import CheckFailedError
    from pipelines.definitions import load_definitions
    from reports.record_replays import replay_records
    from reports.table_diff import LEFT_OUT, chosen_tables, compare, under_other_keys

    definitions = load_definitions(config)
    known = definitions.tables
    asked = [name.strip() for name in (names or "").split(",") if name.strip()]
    chosen = chosen_tables(known, asked, every)
    found = compare(a, b, chosen, ignore=ignore, examples=examples)
    click.echo(f"A {a}\nB {b}\n")
    tell_differences(found)
    if not asked and not every:
        click.echo("\nnot compared (--all compares them too):")
        for name, why in LEFT_OUT.items():
            click.echo(f"  {name}: {why}")
    wrong = 0
    if not asked:
        click.echo("\nmade again from their records:")
        for name, out in (("A", a), ("B", b)):
            replays = replay_records(out, known, definitions.policies)
            tell_replays(name, replays, examples)
            wrong += len(replays.wrong)
    different = [one.table for one in found if not one.equal]
    if different:
        keys = f"--pseudonym-key {a}/keys/pseudonym.key --dead-letter-key {a}/keys/dead_letter.key"
        raise CheckFailedError(
            f"{len(different)} of {len(found)} tables differ: {', '.join(different)}",
            hint=f"events in common and no person, as under different keys: make {b} anew with {keys}"
            if under_other_keys(found)
            else "",
        )
    if wrong:
        raise CheckFailedError(f"{wrong} decisions, actions or labels do not follow from their records")
    click.echo(f"\n{len(found)} tables are equal")


def tell_replays(name: str, replays: RecordReplays, examples: int) -> None:
    """A line a folder, then examples of what is wrong."""
    other = f"; {replays.impossible:,} cannot be made again, by the policies in force" if replays.impossible else ""
    click.echo(
        f"  {name}: {replays.decisions:,} decisions the same, {replays.actions:,} actions and {replays.labels:,} "
        f"labels as decided; {len(replays.wrong):,} wrong{other}"
    )
    for told in replays.wrong[:examples]:
        click.echo(f"      {told}")


def tell_differences(found: Sequence[Difference], a: str = "A", b: str = "B") -> None:
    """A line a table, then examples of what differs. ``a`` and ``b`` name the two sides."""
    width = max(len(difference.table) for difference in found)
    click.echo(
        f"{'table':{width}} {f'in {a}':>11} {f'in {b}':>11} {f'only in {a}':>14} {f'only in {b}':>14} {'differing':>10}"
    )
    for one in found:
        counts = f"{one.rows_a:11,} {one.rows_b:11,} {one.only_a:14,} {one.only_b:14,} {one.changed:10,}"
        click.echo(f"{one.table:{width}} {counts}{'' if one.equal else '  <'}")
    for one in found:
        if not one.equal:
            _tell(one, a, b)


def _tell(one: Difference, a: str, b: str) -> None:
    click.echo(f"\n{one.table}")
    if one.columns:
        most = sorted(one.columns.items(), key=lambda item: (-item[1], item[0]))
        click.echo("  columns that differ: " + ", ".join(f"{name} ({n:,})" for name, n in most))
    for example in one.examples:
        key = " ".join(f"{name}={_short(value)}" for name, value in example.key.items())
        where = {"only in A": f"only in {a}", "only in B": f"only in {b}"}.get(example.where, example.where)
        click.echo(f"  {where}: {key}")
        for name, in_a, in_b in example.columns:
            click.echo(f"      {name}: {a} {_short(in_a)} | {b} {_short(in_b)}")


def _short(value: Any) -> str:
    if value is None:
        return "null"
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"
