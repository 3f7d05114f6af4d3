"""``wayline replay-dead-letters``: dead letters back into event files."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("replay-dead-letters")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Output folder of the runs.")
@click.option("--to", required=True, type=click.Path(path_type=Path), help="Folder for the files, read by a next run.")
@click.option("--reason", "reasons", multiple=True, help="Only this reason; may be given again. Default: all but late.")
@click.option("--dead-letter-key", type=click.Path(path_type=Path), help="Key file; default: OUT/keys.")
@click.option("--schemas", type=click.Path(path_type=Path), help="Folder of schemas by which messages are decoded.")
def command(out: Path, to: Path, reasons: tuple[str, ...], dead_letter_key: Path | None, schemas: Path | None) -> None:
    """Write dead letters out again, whole, as event files that `wayline run --input` reads.

    Run them again once what rejected them is mended. Doing it twice changes nothing: events keep their ids, and what is
    rejected again is the same dead letter.
    """
    from transforms.dead_letter import DeadLetterBox
    from transforms.keys import DEAD_LETTER_KEY_VARIABLE, load_key
    from transforms.replay import check_replayable, replay_dead_letters
    from transforms.schema_registry import load_registry

    check_replayable(out)  # before the key: of a wrong folder the key would be missing too
    registry = load_registry(schemas)
    key = load_key(DEAD_LETTER_KEY_VARIABLE, given=dead_letter_key, default=out / "keys" / "dead_letter.key")
    summary = replay_dead_letters(out, to, DeadLetterBox(key), reasons, registry)
    for reason in sorted({*summary.events, *summary.raw, *summary.skipped}):
        line = f"{reason}: {summary.events[reason]:,} events, {summary.raw[reason]:,} raw"
        skipped = f", {summary.skipped[reason]:,} that cannot be read" if summary.skipped[reason] else ""
        click.echo(line + skipped)
    if summary.files:
        click.echo(f"{len(summary.files):,} files in {to}; now: wayline run --input {to} --out {out}")
    else:
        click.echo("no dead letter to replay")
