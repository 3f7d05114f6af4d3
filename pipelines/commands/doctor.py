"""``wayline doctor``: what the machine has and lacks."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.commands.project import project_config

_COLOURS = {"ok": "green", "missing": "red", "optional": "yellow"}


@click.command("doctor")
@click.option("--out", type=click.Path(path_type=Path), help="Output folder that is going to be written.")
@click.option("--stream", is_flag=True, help="Streams are wanted: Java and Flink have to be there.")
@click.option("--subscription", "subscriptions", multiple=True, help="Pub/Sub subscription to be read; repeatable.")
@click.option("--topic", "topics", multiple=True, help="Pub/Sub topic to be fed; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for machines.")
@project_config
def command(
    out: Path | None,
    stream: bool,
    subscriptions: tuple[str, ...],
    topics: tuple[str, ...],
    as_json: bool,
    config: Path | None,
) -> None:
    """Check this machine: Python, packages, Java and Flink, disk, clocks, and the servers and secrets of a project.

    A line each: ok, missing with how to mend it, or optional. Exit code 9: something that is needed is missing. Files
    of the project are checked by `wayline check`.
    """
    from pipelines.clock import now
    from pipelines.config import load_config
    from pipelines.doctor import MISSING, Wanted, examine

    wanted = Wanted(config, out, stream or bool(subscriptions), subscriptions, topics)
    found = []
    for one in examine(load_config(config), wanted, now):
        found.append(one)
        if not as_json:
            click.echo(f"{click.style(f'{one.status:<9}', fg=_COLOURS[one.status])}{one.name}: {one.said}")
            if one.mend:
                click.echo(f"           fix: {one.mend}")
    if as_json:
        import json
        from dataclasses import asdict

        click.echo(json.dumps({"checks": [asdict(one) for one in found]}, indent=2, ensure_ascii=False))
    missing = [one.name for one in found if one.status == MISSING]
    if missing:
        from contracts.errors import CheckFailedError

        raise CheckFailedError(f"missing: {', '.join(missing)}")
