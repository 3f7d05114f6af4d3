"""``wayline simulate``: a world with its truth as event Avro, and playing it on in answer to a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipelines.commands.project import project_config
from pipelines.commands.times import instant

if TYPE_CHECKING:
    from sources.simulator.respond import Pseudonym
    from sources.simulator.world import Progress, SimulationSummary

F = TypeVar("F", bound=Callable[..., Any])

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _share(name: str, text: str) -> Callable[[F], F]:
    return click.option(f"--{name}-share", type=click.FloatRange(0, 1), metavar="SHARE", help=text)


@click.command("simulate")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the world.")
@click.option("--customers", type=click.IntRange(1), help="People in the world. Default: 2000.")
@click.option("--days", type=click.IntRange(1), help="Days to simulate. Default: 60; with --respond-to 14.")
@click.option("--seed", type=click.IntRange(0), help="Same seed, same bytes. Default: 7.")
@click.option(
    "--world",
    type=click.Choice(["default", "clean", "shared", "quiet"]),
    help="Settings to begin with, for measuring identity: clean (every device logs in, none is shared), shared "
    "(the same, but 5 % of the devices have two users), quiet (as shared, with fewer logins). Other options win.",
)
@click.option("--start", callback=instant, metavar="TIME", help="First day. Default: 2025-01-06.")
@click.option("--activity", type=float, metavar="FACTOR", help="How much people do. Default: 1.")
@click.option("--drift-at", callback=instant, metavar="TIME", help="From then on stages show themselves differently.")
@click.option("--noise", type=click.FloatRange(0, 1), help="How alike stages behave. Default: 0.05.")
@_share("late", "Events 6 to 40 hours late. Default: 0.01.")
@_share("expired", "Events 3 to 9 days late. Default: 0.002.")
@_share("offline", "Events minutes to hours late. Default: 0.03.")
@_share("duplicate", "Events that come twice. Default: 0.015.")
@_share("conflict", "Events that come twice and differ. Default: 0.0005.")
@_share("malformed", "Records that break the rules, added. Default: 0.003.")
@_share("skew", "Devices with a wrong clock. Default: 0.01.")
@_share("dirty", "Events with a login such as null. Default: 0.005.")
@_share("shared", "People who share a device at home. Default: 0.2.")
@_share("account", "People who sign up sooner or later. Default: 0.8.")
@_share("login", "Visits of people with an account that log in. Default: by stage.")
@click.option(
    "--device-sharing",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Personal devices in use that a second person uses too. Default: 0.",
)
@click.option(
    "--every-device-logs-in/--devices-log-in-by-chance",
    default=None,
    help="Every cookie, app and contact is named beside its owner's login once. Default: by chance.",
)
@_share("kiosk", "Visits at a kiosk in a store. Default: 0.01.")
@_share("opt-out", "People who withdraw consent. Default: 0.08.")
@_share("erasure", "People who ask to be erased. Default: 0.005.")
@_share("logged", "People in the randomised experiment. Default: 0.5.")
@click.option("--codec", type=click.Choice(["deflate", "null"]), help="Compression of the files. Default: deflate.")
@click.option("--overwrite", is_flag=True, help="Replace a world that the folder holds.")
@click.option(
    "--respond-to",
    "run_folder",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Play the world in --out on: people answer the actions that the run in RUN sent.",
)
@click.option("--pseudonym-key", type=click.Path(path_type=Path), help="With --respond-to. Default: RUN/keys.")
@click.option("--identity", type=click.Path(path_type=Path), help="With --respond-to: not the project's.")
@project_config
def command(
    out: Path,
    overwrite: bool,
    run_folder: Path | None,
    pseudonym_key: Path | None,
    identity: Path | None,
    config: Path | None,
    **settings: Any,
) -> None:
    """Make a world of customers with its truth, or play one on in answer to the actions of a run.

    Events go to OUT/events, in order of arrival; the truth about persons, stages and effects to OUT/truth, for
    evaluation only. The share of each kind of bad data can be set; --world sets several of them at once.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    if run_folder is not None:
        unfit = sorted(name for name in given if name != "days")
        if unfit or overwrite:
            named = f"--{unfit[0].replace('_', '-')}" if unfit else "--overwrite"
            raise click.UsageError(f"{named} does not go with --respond-to: the world in --out is what it is.")
        from pipelines.config import load_config

        _respond(out, run_folder, given.get("days", 14), pseudonym_key, identity or load_config(config).identity)
        return
    if pseudonym_key is not None or identity is not None:
        raise click.UsageError("--pseudonym-key and --identity go with --respond-to only.")

    from sources.simulator.config import WORLDS, WorldConfig
    from sources.simulator.world import simulate

    world = WorldConfig(**{**WORLDS[given.pop("world", "default")], **given})
    with _progress("simulating") as show:
        summary = simulate(world, out, show, overwrite=overwrite)
    _report(out, summary)


def _respond(out: Path, run_folder: Path, days: int, key_file: Path | None, identity: Path) -> None:
    from sources.simulator.respond import read_run, respond

    run = read_run(run_folder)
    pseudonym = pseudonym_of(run_folder, key_file, identity)
    with _progress("playing on") as show:
        summary = respond(out, run, pseudonym, days, show)
    _report(out, summary.simulation)
    click.echo(
        f"{summary.answered:,} actions of the run were answered"
        + (f", {summary.known:,} were played before or lie ahead" if summary.known else "")
        + (f", {summary.unmatched:,} went to nobody in this world" if summary.unmatched else "")
    )


def pseudonym_of(run_folder: Path, key_file: Path | None, identity: Path | None) -> Pseudonym:
    """The run's own way from a raw identifier to its pseudonym."""
    from contracts.event import Identifier
    from pipelines.config import SHIPPED
    from transforms.identity.rules_file import load_rules
    from transforms.keys import PSEUDONYM_KEY_VARIABLE, load_key
    from transforms.protect import Pseudonymiser

    rules = load_rules(identity or SHIPPED / "identity.yaml")
    key = load_key(PSEUDONYM_KEY_VARIABLE, given=key_file, default=run_folder / "keys" / "pseudonym.key")
    hide = Pseudonymiser(key)

    def pseudonym(namespace: str, value: str) -> tuple[str, str] | None:
        normal = rules.normalise(Identifier(namespace, value))
        return None if normal is None else hide.pseudonym(normal)

    return pseudonym


@contextmanager
def _progress(what: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield show


def _report(out: Path, summary: SimulationSummary) -> None:
    def day(time: int) -> str:
        return (_EPOCH + timedelta(microseconds=time)).strftime("%Y-%m-%d")

    click.echo(
        f"{summary.customers:,} people from {day(summary.start)} to {day(summary.end)}: {summary.events:,} events, "
        f"{summary.duplicates:,} of them twice, {summary.conflicts:,} twice and different, "
        f"{summary.malformed:,} malformed: {summary.records:,} records in {len(summary.files)} files"
    )
    click.echo(f"events are in {out / 'events'}, the truth in {out / 'truth'}")
