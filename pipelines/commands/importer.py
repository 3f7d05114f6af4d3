"""``wayline import``: rows of CSV, JSON, Parquet or Avro to event Avro; or only a check, or a look, without writing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands.project import project_config

if TYPE_CHECKING:
    from rich.console import Console

    from sources.importer.convert import ImportSummary
    from sources.importer.filling import Filling
    from sources.importer.mapping import Mapping

_ABSENT_SHOWN = 10
"""Fields without a row that --check names."""


@click.command("import")
@click.option("--mapping", required=True, help="Name of a mapping (wayline mapping list), or a file.")
@click.option("--input", "inputs", multiple=True, help="File, folder or glob; may be given again.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for events/ and dead_letters/.")
@click.option(
    "--fill", "fills", multiple=True, metavar="FIELD=VALUE", help="What rows leave out, said for all; repeatable."
)
@click.option("--dead-letter-key", type=click.Path(path_type=Path), help="Key file; default: OUT/keys, made once.")
@click.option("--check", is_flag=True, help="Check the mapping, and with --input every row against it; write nothing.")
@click.option("--dry-run", is_flag=True, help="Print rows beside the events they become; write nothing.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Rows of --dry-run.")
@click.option("--show-personal", is_flag=True, help="Show addresses, phone numbers and names in --dry-run.")
@project_config
def command(
    mapping: str,
    inputs: tuple[str, ...],
    out: Path | None,
    fills: tuple[str, ...],
    dead_letter_key: Path | None,
    check: bool,
    dry_run: bool,
    limit: int,
    show_personal: bool,
    config: Path | None,
) -> None:
    """Turn rows of CSV, TSV, JSON lines, JSON, Parquet or Avro into event Avro by a mapping file.

    Rows that do not map become dead letters; a table of mapped, filtered and dead rows ends the command.

    --dry-run prints what stands in the rows on this terminal. E-mail addresses, phone numbers and what by its name is
    somebody's name or address are hidden unless --show-personal is given; other ids and values are shown.
    """
    if check and dry_run:
        raise click.UsageError("give --check or --dry-run, not both")
    if show_personal and not dry_run:
        raise click.UsageError("--show-personal goes with --dry-run")
    if not inputs and not check:
        raise click.UsageError("Missing option '--input'.")
    if out is None and not (check or dry_run):
        raise click.UsageError("Missing option '--out'.")
    from rich.console import Console

    from pipelines.config import load_config
    from sources.importer.filling import parse_filling
    from sources.importer.mapping_file import load_mapping

    filling = parse_filling(fills)
    loaded = load_mapping(mapping, *load_config(config).mapping_folders)
    paths = find_files(inputs) if inputs else []
    console = Console()
    if dry_run:
        _dry_run(console, loaded, paths, filling, limit, show_personal)
    elif check:
        _check(console, loaded, paths, filling, config)
    else:
        assert out is not None
        _import(console, loaded, paths, filling, out, dead_letter_key)


def _import(
    console: Console, mapping: Mapping, paths: list[Path], filling: Filling, out: Path, key_file: Path | None
) -> None:
    from sources.importer.convert import import_files
    from transforms.dead_letter import DeadLetterBox
    from transforms.keys import DEAD_LETTER_KEY_VARIABLE, load_key

    key = load_key(DEAD_LETTER_KEY_VARIABLE, given=key_file, default=out / "keys" / "dead_letter.key", create=True)
    with console.status("reading") as status:

        def show(summary: ImportSummary) -> None:
            status.update(f"{summary.rows:,} rows read, {summary.events:,} events")

        summary = import_files(paths, mapping, out, DeadLetterBox(key), show, filling)
    _tell(console, mapping, summary, len(paths))
    console.print(f"events are in {out / 'events'}", markup=False, soft_wrap=True)
    if summary.dead:
        console.print(
            f"dead letters are in {out / 'dead_letters'}; to bring these rows in, mend the mapping or the data",
            markup=False,
            soft_wrap=True,
        )
        console.print("and import again: rows that mapped keep their event ids, and a run knows them already")


def _check(console: Console, mapping: Mapping, paths: list[Path], filling: Filling, config: Path | None) -> None:
    """The mapping against identity and ontology, and the rows against the mapping. Raises CheckFailedError."""
    from contracts.errors import CheckFailedError
    from pipelines.definitions import load_definitions
    from sources.importer.advice import advise
    from sources.importer.convert import check_rows
    from transforms.identity.rules_file import load_rules

    definitions = load_definitions(config)
    ontology = definitions.ontology
    found = advise(
        mapping, load_rules(definitions.config.identity).namespaces, ontology.is_known, sorted(ontology.table.names)
    )
    console.print(
        f"{mapping.path}: {mapping.version} is a valid mapping of {', '.join(mapping.formats)}",
        markup=False,
        soft_wrap=True,
    )
    for advice in found:
        hint = f" ({advice.hint})" if advice.hint else ""
        kind = "fault" if advice.counts else "note"
        console.print(f"{kind}: {mapping.path}:{advice.line}: {advice.text}{hint}", markup=False, soft_wrap=True)
    if paths:
        with console.status("reading") as status:
            summary = check_rows(paths, mapping, lambda s: status.update(f"{s.rows:,} rows read"), filling)
        _tell(console, mapping, summary, len(paths))
        if summary.rows and not summary.events and not summary.filtered:
            raise CheckFailedError("no row maps", hint="look at some of them: --dry-run")
        if summary.dead:
            console.print("look at such rows: --dry-run")
        for line, fields in summary.absent[:_ABSENT_SHOWN]:
            console.print(f"note: {mapping.path}:{line}: no row has {fields}", markup=False, soft_wrap=True)
        if more := len(summary.absent[_ABSENT_SHOWN:]):
            console.print(f"note: nor has any {more} more that the mapping reads")
    if any(advice.counts for advice in found):
        raise CheckFailedError(
            f"{mapping.path} names identifiers that do not count", hint="mend the namespaces, or the identity rules"
        )


def _dry_run(
    console: Console, mapping: Mapping, paths: list[Path], filling: Filling, limit: int, personal: bool
) -> None:
    from itertools import islice

    from rich.table import Table
    from rich.text import Text

    from sources.importer.convert import check_columns
    from sources.importer.preview import preview
    from sources.importer.readers import read_rows

    check_columns(paths, mapping, filling)
    left = limit
    for path in paths:
        if not left:
            break
        table = Table(title=Text(f"{path.name} by {mapping.version}"), show_lines=True, title_justify="left")
        for column in ("row", "what the mapping reads of it", "event"):
            table.add_column(column, overflow="fold")
        for row in islice(preview(read_rows(path, mapping), mapping, personal=personal, filling=filling), left):
            left -= 1
            source = [f"{name} = {text}" for name, text in row.source]
            if row.unread:
                source.append(f"({row.unread} other values are not read)")
            events = ["\n".join(f"{name} = {text}" for name, text in event) for event in row.events]
            if row.left_out:
                events.append("left out by the filter")
            if row.reason:
                events.append(f"dead: {row.reason}: {row.detail}")
            table.add_row(str(row.number), Text("\n".join(source)), Text("\n\n".join(events)))
        console.print(table)
    if not personal:
        console.print("personal data is hidden; equal marks (#…) are equal values; --show-personal shows them")


def _tell(console: Console, mapping: Mapping, summary: ImportSummary, files: int) -> None:
    """The table of what became of the rows."""
    from rich.table import Table
    from rich.text import Text

    from reports.rendering import plural
    from sources.importer.rows import REASONS

    table = Table(title=Text(f"{mapping.version}: {plural(summary.rows, 'row')} of {plural(files, 'file')}"))
    table.add_column("what became of them")
    table.add_column("rows", justify="right")
    table.add_column("first example")
    table.add_row(
        "mapped", f"{summary.rows - summary.filtered - summary.dead.total():,}", plural(summary.events, "event")
    )
    table.add_row("filtered", f"{summary.filtered:,}", "")
    for reason, count in sorted(summary.dead.items()):
        table.add_row(f"dead: {reason}", f"{count:,}", Text(summary.examples[reason] or REASONS[reason]))
    console.print(table)
    if summary.dead["missing_field"] or summary.dead["no_identifier"]:
        console.print("what every row leaves out can be said for all of them: --fill FIELD=VALUE", markup=False)


def find_files(patterns: tuple[str, ...]) -> list[Path]:
    """Files that the patterns name, sorted. Raises InputError when a pattern names none."""
    import glob

    from contracts.errors import InputError

    found: set[Path] = set()
    for pattern in patterns:
        path = Path(pattern)
        # a name that stands for itself is no pattern, whatever is in it
        matches = [*path.iterdir()] if path.is_dir() else [path] if path.is_file() else map(Path, glob.glob(pattern))
        files = [p for p in matches if p.is_file()]
        if not files:
            raise InputError(f"no file is found at {pattern}", hint="name a file, a folder, or a glob in quotes")
        found.update(files)
    return sorted(found)
