"""``wayline stream-demo``: a simulated world that happens now, live on a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

_EVENTS_A_PERSON = 22
"""About what somebody of the simulated world does in ``DAYS``."""
DAYS = 10
_SLACK = 1.2


@click.command("stream-demo")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the world and its tables.")
@click.option("--seconds", type=click.FloatRange(5, 3_600), default=120, show_default=True, help="Then it drains.")
@click.option("--rate", type=click.FloatRange(1, 2_000), default=200, show_default=True, help="Events a second.")
@click.option("--seed", type=click.IntRange(0), default=7, show_default=True, help="Same seed, same world.")
@click.option("--runner", default="flink", show_default=True, help="As of wayline stream.")
def command(out: Path, seconds: float, rate: float, seed: int, runner: str) -> None:
    """Simulate a world, let it happen now on a Pub/Sub topic, stream it, and show what is decided.

    Ten days of the world are published within --seconds, each event as if it happened at that moment, by rules alone.
    Ctrl-C ends it sooner: what is held is finished. The folder is made anew each time.
    """
    from rich.console import Console

    console = Console()
    world, results = out / "world", out / "out"
    from pipelines.commands.demo import make_room
    from sources.pubsub.emulator import need_server

    need_server()  # what is missing is said before anything is made
    make_room(out, world, results)
    console.rule("[bold]Wayline: a world that happens now")
    customers = max(20, round(rate * seconds * _SLACK / _EVENTS_A_PERSON))
    files = _simulate(console, world, customers, seed)

    from pipelines.commands.stream import print_report
    from pipelines.stream_demo import LiveDemo, run_demo
    from pipelines.stream_plan import StreamOptions

    demo = LiveDemo(files, rate, seconds)
    options = StreamOptions(results, runner=runner, actions="live")
    if console.is_terminal:
        from pipelines.stream_view import StreamView

        with StreamView(console, options) as view:
            report, published = run_demo(demo, options, view.tell)
    else:
        report, published = run_demo(demo, options, lambda what: console.print(f"stream-demo: {what}"))
    console.rule("what came of it")
    if published is not None:
        console.print(f"published: {published.events:,} events in {published.seconds:.0f} s")
        _last_look(console, results, published.events / max(published.seconds, 1.0), report.seconds)
    print_report(console, results, report)
    _show(console, results)


def _simulate(console: Console, world: Path, customers: int, seed: int) -> tuple[str, ...]:
    from sources.simulator.config import WorldConfig
    from sources.simulator.world import simulate

    # what was late in the world would be late now, and the latency on show that of the world
    config = WorldConfig(customers=customers, days=DAYS, seed=seed, late_share=0, offline_share=0, skew_share=0)
    with console.status(f"simulating {customers:,} people"):
        summary = simulate(config, world)
    console.print(f"{customers:,} people, {summary.records:,} records: doubled and malformed ones among them")
    return tuple(map(str, summary.files))


def _last_look(console: Console, out: Path, rate: float, seconds: float) -> None:
    """The live view once more, of what is final."""
    from pipelines.definitions import load_definitions
    from reports.live import look, picture

    definitions = load_definitions(None)
    console.print(picture(look(out, definitions.tables, definitions.ontology.stage_names), rate, seconds))
    console.print()


def _show(console: Console, out: Path) -> None:
    """Where to look, with somebody whose story shows much."""
    from pipelines.commands.demo import someone

    console.print(f"  sent actions   {out / 'actions'}")
    console.print(f"  ask the tables wayline query --out {out} 'FROM journeys LIMIT 5'")
    person = someone(out)
    if person is not None:
        console.print(f"  one story      wayline explain --out {out} --person {person}", soft_wrap=True)
