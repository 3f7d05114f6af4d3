"""A real shop's half year, told from its tables: what ``make ecom-story`` runs.

``python -m benchmarks.ecom_story --data ecom.csv.gz``: imports the log by the shipped mapping, runs the pipeline on
it, and writes figures and pictures into ``docs/ecom.md``. Nothing of the page is computed from the log itself; a test
counts there independently and compares.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from benchmarks.ecom.page import block, funnel_picture, stages_picture
from benchmarks.ecom.story import tell
from benchmarks.page_part import renewed
from benchmarks.real_data import SHOP_LOG, missing
from contracts.errors import InputError
from pipelines import telemetry
from pipelines.clock import now
from pipelines.config import SHIPPED
from pipelines.definitions import load_definitions
from pipelines.run import run
from pipelines.run_options import RunOptions
from sources.importer.convert import import_files
from sources.importer.mapping_file import load_mapping
from transforms.dead_letter import DeadLetterBox
from transforms.keys import KEY_BYTES
from transforms.tables.views import open_views

FOLDER = Path("ecom-out")
STAGES_PICTURE, FUNNEL_PICTURE = "ecom_stages.svg", "ecom_funnel.svg"


@click.command()
@click.option("--data", type=click.Path(path_type=Path), default=SHOP_LOG, show_default=True, help="The shop's log.")
@click.option("--write", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Page to renew.")
def main(data: Path, write: Path | None) -> None:
    """Tell the story."""
    if why := missing(data):
        raise click.BadParameter(why, param_hint="--data")
    telemetry.disable()
    shutil.rmtree(FOLDER, ignore_errors=True)
    out = run_on(data, FOLDER)
    connection = open_views(out, load_definitions(None).tables)
    story = tell(connection)
    connection.close()
    text = block(story)
    click.echo(text)
    if write is None:
        return
    write.write_text(renewed(write.read_text(encoding="utf-8"), text), encoding="utf-8")
    write.with_name(STAGES_PICTURE).write_text(stages_picture(story), encoding="utf-8")
    write.with_name(FUNNEL_PICTURE).write_text(funnel_picture(story), encoding="utf-8")
    click.echo(f"written to {write}")


def run_on(data: Path, folder: Path) -> Path:
    """Import the log and run the pipeline on it; the output folder. Raises InputError when a row is refused."""
    mapping = load_mapping("retentioneering", SHIPPED / "mappings")
    # no row of this log is refused, so no letter is ever opened and nobody needs the key
    box = DeadLetterBox(bytes(KEY_BYTES))
    summary = import_files([data], mapping, folder / "import", box, lambda _: None)
    if summary.dead:
        raise InputError(f"{summary.dead} rows of {data} were refused: {summary.examples}")
    run(RunOptions((str(folder / "import" / "events"),), folder / "out", now=now()))
    return folder / "out"


if __name__ == "__main__":
    main()
