"""``wayline stream``: the main job, live."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands.project import project_config

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.stream import StreamReport
    from pipelines.stream_plan import StreamOptions

ENGINES = """Engines: `flink` runs Flink inside this machine and ends it with the stream (`make flink` gets it);
--flink-master HOST:PORT uses a cluster. `DirectRunner` is for trying only: it is slow, runs files up to 100,000 events,
and acknowledges Pub/Sub messages before they are processed. Other Beam runners go by name."""


@click.command("stream", context_settings={"ignore_unknown_options": True}, epilog=ENGINES)
@click.option("--source", type=click.Choice(["files", "pubsub"]), required=True, help="Where events come from.")
@click.option("--input", "inputs", multiple=True, help="With files: glob or folder of event Avro; repeatable.")
@click.option("--follow", is_flag=True, help="With files: keep looking for new files in the folder, without end.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="With files: events a second. Default: all.")
@click.option("--live", is_flag=True, help="With files: hand each event out when the clock reaches its received time.")
@click.option("--subscription", help="With pubsub: projects/P/subscriptions/S.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Output folder; continued if it exists.")
@click.option("--runner", default="flink", show_default=True, help="flink, DirectRunner, DataflowRunner, or another.")
@click.option("--flink-master", metavar="HOST:PORT", help="A Flink cluster. Default: Flink inside this machine.")
@click.option("--parallelism", type=click.IntRange(1, 1024), default=1, show_default=True, help="Flink tasks a stage.")
@click.option(
    "--workers",
    type=click.IntRange(1, 2),
    help="Worker processes of a machine on Flink; of 2 one is for journeys. Default: 2, on a machine of one core 1.",
)
@click.option(
    "--actions",
    type=click.Choice(["live", "dry-run"]),
    default="dry-run",
    show_default=True,
    help="Send what is decided, or only record it.",
)
@click.option("--state-shards", type=click.IntRange(0), help="Actors a stage, a power of two; 0: journeys by person.")
@click.option(
    "--state-memory",
    type=click.IntRange(24),
    default=768,
    show_default=True,
    help="MiB that all actors together hold at most; the rest is in the record store.",
)
@click.option(
    "--tables",
    type=click.Choice(["files", "bigquery"]),
    default="files",
    show_default=True,
    help="Where tables go besides OUT.",
)
@click.option("--bigquery-dataset", metavar="PROJECT.DATASET", help="With bigquery: made by infra/bigquery.")
@click.option("--bigquery-connector", metavar="HOST:PORT", help="A running one. Default: Beam's own, by Java.")
@click.option("--checkpoints", type=click.Path(path_type=Path), help="Folder of checkpoints. Default: OUT/checkpoints.")
@click.option(
    "--checkpoint-every",
    type=click.FloatRange(0.1),
    default=5.0,
    show_default=True,
    help="Seconds between two checkpoints: messages are acknowledged, and files end, at one.",
)
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint of a stream that was killed.")
@project_config
@click.option("--registry", type=click.Path(path_type=Path), help="Model registry. Default: OUT/registry.")
@click.option("--pseudonym-key", type=click.Path(path_type=Path), help="Key file. Default: OUT/keys, made once.")
@click.option("--dead-letter-key", type=click.Path(path_type=Path), help="Key file. Default: OUT/keys, made once.")
@click.option("--session-by", type=click.Choice(["gap", "tracker"]), help="Overrides what the ontology says.")
@click.option("--view/--no-view", default=None, help="Show a live view. Default: on a terminal.")
@click.argument("beam", nargs=-1, type=click.UNPROCESSED, metavar="[BEAM OPTIONS]")
def command(
    source: str,
    inputs: tuple[str, ...],
    follow: bool,
    rate: float | None,
    live: bool,
    subscription: str | None,
    out: Path,
    runner: str,
    flink_master: str | None,
    parallelism: int,
    workers: int | None,
    actions: str,
    state_shards: int | None,
    state_memory: int,
    tables: str,
    bigquery_dataset: str | None,
    bigquery_connector: str | None,
    checkpoints: Path | None,
    checkpoint_every: float,
    resume: bool,
    config: Path | None,
    registry: Path | None,
    pseudonym_key: Path | None,
    dead_letter_key: Path | None,
    session_by: str | None,
    view: bool | None,
    beam: tuple[str, ...],
) -> None:
    """Run the pipeline live: the graph of `wayline run`, on events as they come.

    The tables are the ones that a bounded run would write. It takes over from what OUT knows. Ctrl-C drains: what is
    held is finished and acknowledged; so does `wayline drain`.
    """
    for option in beam:
        if not option.startswith("--") or "=" not in option:
            raise click.UsageError(
                f"{option!r} is no option of `wayline stream`; Beam options are written --name=value"
            )
    if source == "pubsub" and subscription is None:
        raise click.UsageError("--source pubsub needs --subscription projects/P/subscriptions/S")
    if source == "files" and subscription is not None:
        raise click.UsageError("--subscription goes with --source pubsub")
    from rich.console import Console

    from pipelines.stream_plan import StreamOptions
    from pipelines.table_sink import DATAFLOW, is_dry_run

    options = StreamOptions(
        out=out,
        inputs=inputs,
        follow=follow,
        rate=rate,
        live=live,
        subscription=subscription,
        runner=runner,
        flink_master=flink_master,
        parallelism=parallelism,
        workers=workers,
        actions="live" if actions == "live" else "dry-run",
        config=config,
        registry=registry,
        pseudonym_key=pseudonym_key,
        dead_letter_key=dead_letter_key,
        session_by=session_by,
        shards=state_shards or None,
        by_person=state_shards == 0,
        state_bytes=state_memory * 1024 * 1024,
        checkpoints=checkpoints,
        checkpoint_every=checkpoint_every,
        resume=resume,
        tables=tables,
        bigquery_dataset=bigquery_dataset,
        bigquery_connector=bigquery_connector,
        beam=beam,
    )
    console = Console()
    if runner == DATAFLOW and is_dry_run(beam):
        from pipelines.stream_check import check_stream

        check_stream(options)
        console.print(f"the job was built for {runner}, and not run")
        return
    print_report(console, out, run_with_view(console, options, console.is_terminal if view is None else view))


def run_with_view(console: Console, options: StreamOptions, view: bool) -> StreamReport:
    """Run, with what the tables say in between, or a line a change."""
    from pipelines.stream import stream

    def told(what: str) -> None:
        console.print(f"wayline stream: {what}", highlight=False)

    if not view:
        return stream(options, told, warn=told)
    from pipelines.stream_view import StreamView

    with StreamView(console, options) as shown:
        # a view on a terminal stands below what is printed meanwhile
        return stream(options, shown.tell, warn=told)


def print_report(console: Console, out: Path, report: StreamReport) -> None:
    """The ledger at the end, and where to look."""
    from pipelines.commands.run import ledger_table

    console.print(ledger_table(f"{report.run_id}: what became of every event", report.rows, report.total))
    rate = report.total.received / report.seconds if report.seconds else 0.0
    ended = "drained" if report.drained else "the source ended"
    console.print(f"the ledger balances; {ended} after {report.seconds:.1f} s, {rate:,.0f} events/s")
    if report.taken_over:
        console.print(f"took over {report.taken_over:,} events of earlier runs")
    console.print(f"tables: {out / 'tables'}    views: {out / 'wayline.duckdb'}", markup=False)
