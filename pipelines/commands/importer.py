"""``wayline import``: rows of CSV, JSON or Parquet to event Avro."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("import")
@click.option("--mapping", required=True, help="Name of a shipped mapping, or a mapping file.")
@click.option("--input", "inputs", required=True, multiple=True, help="File, folder or glob; may be given again.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for events/ and dead_letters/.")
@click.option("--dead-letter-key", type=click.Path(path_type=Path), help="Key file; default: OUT/keys, made once.")
def command(mapping: str, inputs: tuple[str, ...], out: Path, dead_letter_key: Path | None) -> None:
    """Turn rows of CSV, TSV, JSON lines, JSON or Parquet (plain or gzip) into event Avro by a mapping file.

    Rows that do not map become dead letters; a table of mapped, filtered and dead rows ends the command.
    """
    from pipelines.config import SHIPPED
    from sources.importer.convert import ImportSummary, import_files
    from sources.importer.mapping_file import load_mapping
    from sources.importer.rows import REASONS
    from transforms.dead_letter import DeadLetterBox
    from transforms.keys import DEAD_LETTER_KEY_VARIABLE, load_key

    loaded = load_mapping(mapping, SHIPPED / "mappings")
    paths = find_files(inputs)
    key = load_key(
        DEAD_LETTER_KEY_VARIABLE, given=dead_letter_key, default=out / "keys" / "dead_letter.key", create=True
    )

    from rich.console import Console
    from rich.table import Table

    console = Console()
    with console.status("reading") as status:

        def show(summary: ImportSummary) -> None:
            status.update(f"{summary.rows:,} rows read, {summary.events:,} events")

        summary = import_files(paths, loaded, out, DeadLetterBox(key), show)

    table = Table(title=f"{loaded.version}: {summary.rows:,} rows of {len(paths)} file(s)")
    table.add_column("what became of them")
    table.add_column("rows", justify="right")
    table.add_column("first example")
    table.add_row("mapped", f"{summary.rows - summary.filtered - summary.dead.total():,}", f"{summary.events:,} events")
    table.add_row("filtered", f"{summary.filtered:,}", "")
    for reason, count in sorted(summary.dead.items()):
        table.add_row(f"dead: {reason}", f"{count:,}", summary.examples[reason] or REASONS[reason])
    console.print(table)
    console.print(f"events are in {out / 'events'}")
    if summary.dead:
        console.print(
            f"dead letters are in {out / 'dead_letters'}; to bring these rows in, mend the mapping or the data"
        )
        console.print("and import again: rows that mapped keep their event ids, and a run knows them already")


def find_files(patterns: tuple[str, ...]) -> list[Path]:
    """Files that the patterns name, sorted. Raises InputError when a pattern names none."""
    import glob

    from contracts.errors import InputError

    found: set[Path] = set()
    for pattern in patterns:
        path = Path(pattern)
        matches = [p for p in path.iterdir() if p.is_file()] if path.is_dir() else [Path(p) for p in glob.glob(pattern)]
        files = [p for p in matches if p.is_file()]
        if not files:
            raise InputError(f"no file is found at {pattern}", hint="name a file, a folder, or a glob in quotes")
        found.update(files)
    return sorted(found)
