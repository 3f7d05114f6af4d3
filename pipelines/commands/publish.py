"""``wayline publish``: a Pub/Sub topic fed from event files or from the simulator."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines import clock

if TYPE_CHECKING:
    from sources.publish import Progress


@click.command("publish")
@click.option("--topic", required=True, metavar="NAME", help="projects/PROJECT/topics/NAME.")
@click.option("--input", "inputs", multiple=True, help="Event files, a folder or a pattern; may be given again.")
@click.option("--simulate", "customers", type=click.IntRange(1), metavar="N", help="A world of N people instead.")
@click.option("--days", type=click.IntRange(1), help="With --simulate: days of the world. Default: 30.")
@click.option("--seed", type=click.IntRange(0), help="With --simulate. Default: 7.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Messages a second. Default: as fast as it goes.")
@click.option("--now", is_flag=True, help="Events happen as they are published; see below.")
@click.option("--create", is_flag=True, help="Make the topic where it is missing, and --subscription.")
@click.option("--subscription", metavar="NAME", help="With --create: projects/PROJECT/subscriptions/NAME.")
@click.option(
    "--encoding",
    type=click.Choice(["single-object", "binary", "json", "confluent"]),
    default="single-object",
    show_default=True,
    help="Of the payload.",
)
@click.option("--schema-name", default="", help="With binary and json: projects/PROJECT/schemas/NAME.")
@click.option("--schema-revision", default="", help="With --schema-name: its revision.")
@click.option("--schema-id", type=click.IntRange(0, 2**32 - 1), help="With confluent: id of the event schema.")
def command(
    topic: str,
    inputs: tuple[str, ...],
    customers: int | None,
    days: int | None,
    seed: int | None,
    rate: float | None,
    now: bool,
    create: bool,
    subscription: str | None,
    encoding: str,
    schema_name: str,
    schema_revision: str,
    schema_id: int | None,
) -> None:
    """Feed a topic in the order in which things happened, at --rate or as fast as it goes.

    PUBSUB_EMULATOR_HOST names an emulator (wayline pubsub-emulator); without it the messages go to Google Cloud. Event
    times and received times stay as they are in the files.

    With --now the world happens while it is published: what was received within a minute of its time happens at the
    moment of publishing, the rest keeps its distance to its reception. Order stays, distances become those of --rate.
    """
    if bool(inputs) == (customers is not None):
        raise click.UsageError("give either --input or --simulate.")
    if customers is None and (days is not None or seed is not None):
        raise click.UsageError("--days and --seed go with --simulate.")
    if subscription is not None and not create:
        raise click.UsageError("--subscription goes with --create.")

    from sources.publish import Present, publish
    from sources.pubsub import client
    from transforms.inputs import list_inputs
    from transforms.payloads import PayloadEncoder

    try:
        encoder = PayloadEncoder(encoding, schema_name, schema_revision, schema_id)
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error
    files = list_inputs(inputs) if inputs else []
    endpoint = client.emulator_endpoint()
    if create:
        client.create(topic, subscription, endpoint)
    client.check_topic(topic, endpoint)
    with tempfile.TemporaryDirectory(prefix="wayline-world-") as folder:
        if customers is not None:
            files = _simulate(Path(folder), customers, 30 if days is None else days, 7 if seed is None else seed)
        with _progress("publishing") as show:
            done = publish(files, topic, endpoint, encoder, rate, show, present=Present(clock.now) if now else None)
    parts = [f"{done.events:,} events"]
    parts += [f"{done.damaged:,} damaged parts of files"] if done.damaged else []
    click.echo(f"published to {topic}: {', '.join(parts)} in {done.seconds:,.1f} s")
    if done.oversize:
        click.echo(f"left out, since no topic takes them: {done.oversize:,} larger than 10 MB", err=True)


def _simulate(folder: Path, customers: int, days: int, seed: int) -> list[str]:
    from sources.simulator.config import WorldConfig
    from sources.simulator.world import simulate

    with _progress("simulating") as show:
        summary = simulate(WorldConfig(customers=customers, days=days, seed=seed), folder, show)
    return [str(path) for path in summary.files]


@contextmanager
def _progress(what: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield show
