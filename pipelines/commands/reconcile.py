"""``wayline reconcile``: all persons folded again from the stored events."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.commands.project import project_config


@click.command("reconcile")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Output folder of a run or a stream.")
@project_config
@click.option("--registry", type=click.Path(path_type=Path), help="Model registry. Default: OUT/registry.")
@click.option("--pseudonym-key", type=click.Path(path_type=Path), help="Key file. Default: OUT/keys.")
@click.option("--dead-letter-key", type=click.Path(path_type=Path), help="Key file. Default: OUT/keys.")
@click.option("--session-by", type=click.Choice(["gap", "tracker"]), help="Overrides what the ontology says.")
@click.option("--decide-anew", is_flag=True, help="Although the store of what was sent is lost: tables forget it.")
def command(
    out: Path,
    config: Path | None,
    registry: Path | None,
    pseudonym_key: Path | None,
    dead_letter_key: Path | None,
    session_by: str | None,
    decide_anew: bool,
) -> None:
    """Fold all persons again from the events that OUT has, and say what that changed.

    For a folder whose stores were lost, or whose stream died without a checkpoint. No stream may be running on it.
    Sends nothing. A stream that is started afterwards takes over from what was folded.
    """
    from rich.console import Console

    from pipelines.commands.diff import tell_differences
    from pipelines.definitions import load_definitions
    from pipelines.reconcile import reconcile
    from pipelines.run_options import RunOptions

    console = Console()
    options = RunOptions(
        (),
        out,
        config=config,
        registry=registry,
        pseudonym_key=pseudonym_key,
        dead_letter_key=dead_letter_key,
        session_by=session_by,
    )
    with console.status("folding all persons again"):
        done = reconcile(options, load_definitions(config, session_by), decide_anew=decide_anew)
    if not done.changed:
        console.print(f"{done.run.run_id}: nothing changed; {done.run.seconds:.1f} s")
        return
    console.print(f"{done.run.run_id}: {len(done.changed)} tables changed; {done.run.seconds:.1f} s")
    tell_differences(done.changed, "before", "now")
