"""``wayline review``: the monthly audit. Draw a sample of journeys, let people label them, say how right stages are."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.clock import now
from pipelines.commands.project import project_config

if TYPE_CHECKING:
    from models.review import Audit, Estimate, Label, Sample
    from models.review_store import ReviewStore
    from transforms.journey.ontology import Ontology

_QUIT, _SKIP, _UNSURE, _BACK, _HELP = "q", "s", "u", "b", "?"


@click.command("review")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Output folder of the runs.")
@click.option("--who", help="Who labels; needed to label and to import.")
@click.option("--draw", "fresh", is_flag=True, help="Draw a new sample, of the tables as they are now.")
@click.option("--size", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Journeys to draw.")
@click.option("--seed", type=click.IntRange(0), default=7, show_default=True, help="Of the draw.")
@click.option(
    "--days", type=click.IntRange(1, 3_650), default=30, show_default=True, help="Draw of journeys alive so lately."
)
@click.option("--list", "listing", is_flag=True, help="List the draws and how far they are.")
@click.option("--report", is_flag=True, help="Accuracy by the labels of the latest draw, and what to change.")
@click.option("--export", type=click.Path(dir_okay=False, path_type=Path), help="Write what is unlabelled as CSV.")
@click.option(
    "--import", "sheet", type=click.Path(dir_okay=False, path_type=Path), help="Take the labels of a filled-in CSV."
)
@project_config
def command(
    out: Path,
    who: str | None,
    fresh: bool,
    size: int,
    seed: int,
    days: int,
    listing: bool,
    report: bool,
    export: Path | None,
    sheet: Path | None,
    config: Path | None,
) -> None:
    """Label a sample of journeys, and see how right stages are.

    Without more than --out and --who the latest draw is labelled here, from where it was left; the first call draws.
    Each journey is shown without the pipeline's answer. Keys: number of the stage; u unsure, s skip, b back, ? what the
    stages mean, q quit.
    """
    asked = sum((listing, report, export is not None, sheet is not None))
    if asked > 1:
        raise click.UsageError("--list, --report, --export and --import exclude each other")
    if fresh and (report or sheet is not None):
        raise click.UsageError("a new draw has no labels yet: call --draw first, and --report or --import another time")
    if (not asked or sheet is not None) and not (who and who.strip()):
        raise click.UsageError("say who labels: --who NAME")
    from models.review_store import ReviewStore
    from pipelines.definitions import load_definitions
    from transforms.tables.output import check_readable
    from transforms.tables.views import answering, open_views

    check_readable(out)
    definitions = load_definitions(config)
    store = ReviewStore(out)
    if listing and not fresh:
        _list(store)
        return
    connection = open_views(out, definitions.tables)
    try:
        with answering(out):
            if fresh or (not store.samples() and sheet is None and not report):
                _draw(store, connection, size, seed, days)
            if listing:
                _list(store)
            elif export is not None:
                _export(store, connection, definitions.ontology, export)
            elif sheet is not None:
                assert who is not None, "asked for above"
                _import(store, sheet, definitions.ontology.stage_names, who)
            elif report:
                _report(store, connection, definitions.ontology)
            else:
                assert who is not None, "asked for above"
                _label(store, connection, definitions.ontology, who)
    finally:
        connection.close()


def _draw(store: ReviewStore, connection: Any, size: int, seed: int, days: int) -> None:
    from models.review import draw
    from reports.review_cases import journeys_to_draw

    journeys = journeys_to_draw(connection, days)
    samples = draw(journeys, size, seed)
    added = store.add_samples(samples)
    strata = len({sample.stratum for sample in samples})
    if added:
        click.echo(f"drawn: {added} of {len(journeys):,} journeys, from {strata} strata ({samples[0].draw_id})")
    else:
        click.echo(f"the same tables and seed give the draw that is there already ({samples[0].draw_id})")


def _latest(store: ReviewStore) -> list[Sample]:
    from contracts.errors import InputError

    samples = store.samples()
    if not samples:
        raise InputError(
            f"{store.folder} holds no draw yet", hint="draw one: wayline review --out OUT --draw --who NAME"
        )
    return [sample for sample in samples if sample.draw_id == samples[-1].draw_id]


def _open(store: ReviewStore, who: str | None = None) -> list[Sample]:
    """Samples of the latest draw without a label: of ``who``, or of anybody."""
    done = {label.sample_id for label in store.labels() if who is None or label.who == who}
    return [sample for sample in _latest(store) if sample.sample_id not in done]


def _list(store: ReviewStore) -> None:
    labels = store.labels()
    draws: dict[str, list[Sample]] = {}
    for sample in store.samples():
        draws.setdefault(sample.draw_id, []).append(sample)
    if not draws:
        click.echo("nothing is drawn yet")
    for draw_id, samples in draws.items():
        ids = {sample.sample_id for sample in samples}
        given = [label for label in labels if label.sample_id in ids]
        people = ", ".join(sorted({label.who for label in given})) or "nobody"
        done = len({label.sample_id for label in given})
        journey = samples[0].journey
        model = journey.model_version or "rules alone"
        click.echo(
            f"{draw_id}: {done} of {len(samples)} labelled, by {people}; ontology {journey.ontology_version}, {model}"
        )


def _export(store: ReviewStore, connection: Any, ontology: Ontology, path: Path) -> None:
    from reports.review_cases import journey_lines
    from reports.review_sheet import write

    left = _open(store)
    write(path, left, lambda sample: journey_lines(connection, sample, ontology.conversions))
    click.echo(f"written: {len(left)} journeys to {path}")
    _legend(ontology)
    click.echo(
        "fill in the column stage (or unsure), then: "
        f"wayline review --out {store.folder.parent} --import {path} --who NAME"
    )


def _import(store: ReviewStore, path: Path, stages: Sequence[str], who: str) -> None:
    from reports.review_sheet import read

    labels = read(path, {sample.sample_id: sample for sample in store.samples()}, stages, who, now())
    latest: dict[str, tuple[str, str]] = {}
    for label in store.labels():
        if label.who == who:
            latest[label.sample_id] = (label.stage, label.note)
    new = [label for label in labels if latest.get(label.sample_id) != (label.stage, label.note)]
    click.echo(f"taken: {store.add_labels(new)} labels by {who}; {len(labels) - len(new)} were known already")


def _legend(ontology: Ontology) -> None:
    """The stages with what they mean, so that reviewers go by one meaning."""
    for number, stage in enumerate(ontology.stages, start=1):
        click.echo(f"  {number} {stage.name}: {stage.description}" if stage.description else f"  {number} {stage.name}")


def _label(store: ReviewStore, connection: Any, ontology: Ontology, who: str) -> None:
    from models.review import UNSURE, Label
    from reports.review_cases import journey_lines

    todo, whole = _open(store, who), len(_latest(store))
    keys = {str(number): stage for number, stage in enumerate(ontology.stage_names, start=1)} | {_UNSURE: UNSURE}
    menu = "  ".join(f"{key} {stage}" for key, stage in keys.items())
    if todo:
        click.echo("Say of each journey in which stage the person was at the time asked about:")
        _legend(ontology)
    place = given = 0
    shown: Sample | None = None
    while place < len(todo):
        sample = todo[place]
        # once: after a wrong key or the stages again, what was asked for would else scroll away under the journey
        if sample is not shown:
            click.echo(f"\n--- {whole - len(todo) + place + 1} of {whole}: {sample.journey.person_id}")
            for line in journey_lines(connection, sample, ontology.conversions):
                click.echo(line)
        shown = sample
        click.echo(f"\nIn which stage is this person? {menu}  {_SKIP} skip  {_BACK} back  {_HELP} stages  {_QUIT} quit")
        key = _key()
        if key == _QUIT:
            break
        if key == _HELP:
            _legend(ontology)
        elif key == _BACK:
            place = max(0, place - 1)
        elif key == _SKIP:
            place += 1
        elif key in keys:
            # each at once: whatever ends the session, what was said is kept
            given += store.add_labels([Label(sample.sample_id, keys[key], who, now())])
            answer = sample.journey
            click.echo(
                f"{keys[key]}. The pipeline says {answer.stage} ({answer.decided_by}, {answer.confidence:.2f} sure)."
            )
            place += 1
        else:
            click.echo(f"{key!r} is none of the keys")
    left = len(_open(store, who))
    call = f"wayline review --out {store.folder.parent}"
    further = f"go on: {call} --who {who}" if left else "all done"
    click.echo(f"\n{given} labels given, {left} left for {who}; {further}")
    click.echo(f"what they say: {call} --report")


def _key() -> str:
    """One key of the terminal, or one character of input that is piped in; the end of input is quit."""
    if sys.stdin.isatty():
        return click.getchar().lower()
    while (key := sys.stdin.read(1)).isspace():
        pass
    return key.lower() or _QUIT


def _report(store: ReviewStore, connection: Any, ontology: Ontology) -> None:
    from models.review import BAND_LIMITS, BAND_NAMES, audit
    from reports.review_cases import proposals, why_of

    samples = _latest(store)
    labels: list[Label] = store.labels()
    found = audit(samples, labels)
    click.echo(
        f"{found.labelled} of {found.drawn} journeys labelled; {found.unsure} unsure, {found.disputed} disputed among "
        "reviewers"
    )
    if found.overall is None:
        click.echo("no label yet, so nothing is known")
        return
    click.echo(f"right: {_said(found.overall)}")
    some = f"{found.counted:,} of {found.journeys:,} journeys in all"
    click.echo(
        f"  in brackets 95 % intervals; each label stands for its stratum, {some}"
        + ("" if found.counted == found.journeys else ": the others' strata have no label yet")
    )
    limits = dict(zip(BAND_NAMES, BAND_LIMITS, strict=True))
    for title, group, order in (
        ("said", found.by_stage, ontology.stage_names),
        ("decided by", found.by_speaker, sorted(found.by_speaker)),
        ("confidence", found.by_band, BAND_NAMES),
    ):
        for name in order:
            if name in group:
                meant = f" ({limits[name]})" if group is found.by_band else ""
                click.echo(f"  {title} {name}{meant}: {_said(group[name])}")
    _confusion(found, ontology.stage_names)
    entries = {stage.name: stage.enter for stage in ontology.stages if stage.enter is not None}
    told = [sample for sample, _ in (*found.wrong, *found.right)]
    said = proposals(found, why_of(connection, told), entries, ontology.stage_names)
    if said:
        click.echo("\nwhat to look at (what was seen once or twice asks for more labels first):")
    for line in said:
        click.echo(f"- {line}")
    if said:
        click.echo(
            "\ntry a change before it is put in force, and see whom it moves: wayline ontology diff NOW.yaml "
            f"CHANGED.yaml --on {store.folder.parent}"
        )


def _said(one: Estimate) -> str:
    return f"{one.share:.1%} ({one.low:.1%} to {one.high:.1%}) of {one.labels} labels"


def _confusion(found: Audit, stages: Sequence[str]) -> None:
    from pipelines.commands.query import print_table

    rows = [
        [answer, *(found.confusion.get((answer, label), 0) for label in stages)]
        for answer in stages
        if any(found.confusion.get((answer, label)) for label in stages)
    ]
    print_table(["said \\ people say", *stages], rows, 0)
