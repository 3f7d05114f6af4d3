"""``wayline demo``: the whole round trip on a simulated world, in one process, with what came out at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.clock import now

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.run import RunReport

DAYS, KNOWN_DAYS, ANSWER_DAYS = 30, 20, 8


@click.command("demo")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the world and its tables.")
@click.option("--customers", type=click.IntRange(100, 100_000), default=150, show_default=True, help="People.")
@click.option("--seed", type=click.IntRange(0), default=7, show_default=True, help="Same seed, same world.")
def command(out: Path, customers: int, seed: int) -> None:
    """Simulate a world, run, train, run with the model and live actions, let people answer, run again.

    Shows at the end what the tables say. The folder is made anew each time.
    """
    from rich.console import Console

    console = Console()
    started = time.monotonic()
    world, results = out / "world", out / "out"
    make_room(out, world, results)
    console.rule("[bold]Wayline: from events to decided journeys")

    with _step(console, f"1  simulate {customers:,} people for {DAYS} days"):
        from sources.simulator.config import WorldConfig
        from sources.simulator.world import simulate

        config = WorldConfig(customers=customers, days=DAYS, seed=seed)
        summary = simulate(config, world)
    console.print(f"     {summary.records:,} records: late, doubled, malformed ones among them; truth kept apart")

    known_until = _add_days(config.start, KNOWN_DAYS)
    _make_keys(results, seed)
    first = _run(
        console, f"2  run what was known on day {KNOWN_DAYS}, by rules alone", world, results, known_until, False
    )
    console.print(f"     {first.total.accepted:,} events accepted, ledger balances")

    with _step(console, "3  train the stage model on it, through the gates"):
        accuracy, majority, refusal = _train(results)
    console.print(f"     accuracy {accuracy:.2f} (always the commonest stage: {majority:.2f})", highlight=False)
    verdict = "refused, rules alone go on" if refusal else f"champion from day {KNOWN_DAYS} on"
    console.print(f"     {verdict}{': ' if refusal else ''}{refusal}", highlight=False, soft_wrap=True)

    by = "by rules alone" if refusal else "with the model"
    second = _run(console, f"4  run all {DAYS} days {by}, actions live to file", world, results, None, True)
    console.print(f"     decisions became: {_counts(second)}")

    with _step(console, f"5  people answer for {ANSWER_DAYS} days"):
        answered = _respond(world, results)
    console.print(f"     {answered:,} actions answered")

    third = _run(console, "6  run again: outcomes become labels", world, results, None, True)
    console.print(f"     {third.total.accepted:,} new events, {third.total.duplicate:,} known already")

    _show(console, results)
    from pipelines.commands.report import report

    with _step(console, "7  tell all of it on one page"):
        page = report(results, None, None)
    console.print(f"\nDone in {time.monotonic() - started:.0f} s. Everything is in [bold]{results}[/bold]:")
    console.print(f"  report         {page}", soft_wrap=True)
    console.print(f"  views          duckdb {results / 'wayline.duckdb'}  (SELECT * FROM journeys)")
    console.print(f"  sent actions   {results / 'actions'}")
    console.print(f"  one story      wayline explain --out {results} --person {someone(results)}", soft_wrap=True)


def make_room(out: Path, *folders: Path) -> None:
    """Remove what an earlier demo left, and nothing else: a folder with other things in it is refused."""
    import shutil

    from contracts.errors import OutputError

    try:
        if out.exists() and any(p.name not in {"world", "out"} for p in out.iterdir()):
            raise OutputError(f"{out} holds other things than a demo", hint="choose another --out")
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}") from error


def _add_days(start: int, days: int) -> int:
    from contracts.event import DAY

    return start + days * DAY


@contextmanager
def _step(console: Console, title: str) -> Iterator[None]:
    """A step with a moving line while it runs and its time when it has ended."""
    began = time.monotonic()
    with console.status(title):
        yield
    console.print(f"[bold]{title}[/bold]  [dim]{time.monotonic() - began:.1f} s[/dim]")


def _run(console: Console, title: str, world: Path, out: Path, as_of: int | None, live: bool) -> RunReport:
    from pipelines.commands.run import run_with_progress
    from pipelines.run_options import RunOptions

    began = time.monotonic()
    options = RunOptions((str(world / "events"),), out, as_of=as_of, actions="live" if live else "dry-run", workers=1)
    report = run_with_progress(console, options, title)
    console.print(f"[bold]{title}[/bold]  [dim]{time.monotonic() - began:.1f} s[/dim]")
    return report


def _make_keys(out: Path, seed: int) -> None:
    """The keys of the demo, made from its seed: so its ids, and with them who trains and who tests the model, repeat.

    They protect people who do not exist. A folder with real events gets random keys from ``wayline run``.
    """
    import hashlib

    from contracts.errors import OutputError

    try:
        (out / "keys").mkdir(parents=True)
        for name in ("pseudonym", "dead_letter"):
            file = out / "keys" / f"{name}.key"
            file.touch(mode=0o600)
            file.write_text(hashlib.sha256(f"wayline demo {seed} {name}".encode()).hexdigest() + "\n", encoding="ascii")
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}") from error


def _train(out: Path) -> tuple[float, float, str]:
    """Train and promote: accuracy, that of always the commonest stage, why a gate refuses the model or ""."""
    from contracts.errors import ModelError
    from models.registry import ModelRegistry
    from models.training import TrainingSettings, train
    from pipelines.commands.model import stage_definitions

    definitions = stage_definitions(None)
    trained = train(out, definitions, TrainingSettings())
    manifest = trained.model.manifest
    refusal = ""
    try:
        ModelRegistry(out / "registry").promote(
            manifest.version,
            stages=definitions.stages,
            active_from=manifest.horizon + 1,
            reason="demo",
            now=now(),
            certain=definitions.certain,
        )
    except ModelError as error:  # on few people the gates may well refuse; the round trip does not end with that
        refusal = error.message
    return manifest.metrics.accuracy, manifest.metrics.majority_accuracy, refusal


def _respond(world: Path, out: Path) -> int:
    from pipelines.commands.simulate import pseudonym_of
    from sources.simulator.respond import read_run, respond

    return respond(world, read_run(out), pseudonym_of(out, None, None), ANSWER_DAYS).answered


def _counts(report: RunReport) -> str:
    return ", ".join(f"{n:,} {status}" for status, n in report.effects.items() if n) or "none"


def _query(out: Path, sql: str) -> list[tuple[Any, ...]]:
    from pipelines.definitions import load_definitions
    from transforms.tables.views import open_views

    connection = open_views(out, load_definitions(None).tables)
    try:
        rows: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
        return rows
    finally:
        connection.close()


def someone(out: Path) -> str | None:
    """A person whose story shows much: sent actions, then many moves. None: there is nobody."""
    rows = _query(
        out,
        "SELECT j.person_id FROM journeys j LEFT JOIN "
        "(SELECT person_id, count(*) AS sent FROM actions WHERE status = 'sent' GROUP BY 1) a USING (person_id) "
        "LEFT JOIN (SELECT person_id, count(*) AS moves FROM transitions GROUP BY 1) t USING (person_id) "
        "ORDER BY coalesce(a.sent, 0) + t.moves DESC, person_id LIMIT 1",
    )
    return str(rows[0][0]) if rows else None


def _show(console: Console, out: Path) -> None:
    """What the tables say, in four small tables."""
    from rich.columns import Columns
    from rich.table import Table

    def table(title: str, headings: tuple[str, ...], sql: str) -> Table:
        made = Table(title=title, title_justify="left")
        for number, heading in enumerate(headings):
            made.add_column(heading, justify="left" if number == 0 else "right")
        for row in _query(out, sql):
            made.add_row(*(f"{v:,}" if isinstance(v, int) else str(v) for v in row))
        return made

    console.rule("what the tables say")
    panels = [
        table(
            "people by stage",
            ("stage", "people", "by model", "confidence"),
            "SELECT stage, count(*), count(*) FILTER (decided_by = 'model'), round(avg(confidence), 2) "
            "FROM journeys GROUP BY 1 ORDER BY 2 DESC",
        ),
        table(
            "moves between stages",
            ("move", "times"),
            "SELECT coalesce(from_stage, '(start)') || ' > ' || to_stage, count(*) FROM transitions "
            "GROUP BY 1 ORDER BY 2 DESC LIMIT 8",
        ),
        table(
            "decisions",
            ("chosen", "times"),
            "SELECT chosen, count(*) FROM decisions GROUP BY 1 ORDER BY 2 DESC LIMIT 9",
        ),
        table(
            "labels: converted within 7 days",
            ("origin / done", "labels", "converted"),
            "SELECT origin || ' / ' || arm, count(*), count(*) FILTER (outcome = 'converted') FROM labels "
            "GROUP BY 1 ORDER BY 2 DESC LIMIT 9",
        ),
    ]
    console.print(Columns(panels))
