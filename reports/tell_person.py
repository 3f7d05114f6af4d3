"""A person's story in words and tables.

Input: a ``PersonStory``. Output: rich renderables for 100 columns. Errors, state: none.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.panel import Panel
from rich.text import Text

from contracts.event import Identifier
from reports.explain import PersonStory
from reports.identity_words import conflict_words, rule_words, status_words
from reports.lookup import Row
from reports.rendering import (
    ARROW,
    clean,
    consent,
    date,
    day,
    grid,
    heading,
    identifier,
    indented,
    length,
    moment,
    newest,
    number,
    plain,
    plural,
    second,
    shortened,
    text,
)
from reports.tell_decisions import tell_deeds
from transforms.identity.ids import canonical_id
from transforms.journey import words
from transforms.journey.ontology import Ontology

_BAR = 5
_FADED = 0.005


def tell_person(story: PersonStory, ontology: Ontology, limit: int) -> Iterator[RenderableType]:
    """The whole story.

    Args:
        story: of the person.
        ontology: the one in force; its thresholds are shown when the journey was folded with this version.
        limit: most rows a section shows, the newest; 0 for all.
    """
    yield Panel(_headline(story), title=text(f"Person {story.person_id}", "bold"), title_align="left")
    yield from _identity(story, limit)
    yield from _sessions(story, limit)
    yield from _events(story, limit)
    yield from _signals(story, ontology)
    yield from _moves(story, limit)
    yield from _scores(story, limit)
    yield from tell_deeds(story.deeds, limit)
    yield from _outcomes(story, limit)


def _headline(story: PersonStory) -> Text:
    lines: list[Text] = []
    if story.asked:
        lines.append(text(story.asked, "italic"))
    journey = story.journey
    if journey is None:
        lines.append(Text("no journey: nothing of what this person did is left, or none of it was behaviour"))
    else:
        lines.append(
            Text.assemble(
                (clean(journey["stage"]), "bold cyan"),
                f" since {day(journey['since'])} ({length(journey['horizon'] - journey['since'])}), decided by ",
                clean(journey["decided_by"]),
                f", confidence {journey['confidence']:.2f}",
            )
        )
        counts = [plural(journey[f"{noun}s"], noun) for noun in ("event", "session", "conversion")]
        lines.append(Text(f"{counts[0]} in {counts[1]}, {counts[2]}"))
        lines.append(Text.assemble("consent: ", consent(journey["consent"] or {})))
    if story.person:
        lines.append(Text(f"first seen {day(story.person['first_seen'])}, last seen {day(story.person['last_seen'])}"))
    if journey is not None:
        model = clean(journey["model_version"] or "none, rules alone")
        lines.append(
            text(
                f"as of {second(journey['horizon'])}; ontology {journey['ontology_version']}, model {model}; "
                "all times UTC",
                "dim",
            )
        )
    return Text("\n").join(lines)


def _identity(story: PersonStory, limit: int) -> Iterator[RenderableType]:
    yield from heading("Who this is")
    # the one that names the person is last, so that a limit never hides it
    rows = newest(sorted(story.identifiers, key=lambda row: _own_id(row) == story.person_id), limit)
    yield indented(
        grid(
            ("identifier", "pseudonym", "first seen", "last seen", "alias"),
            [
                (
                    text(row["namespace"]),
                    text(row["value"]),
                    date(row["first_seen"]),
                    date(row["last_seen"]),
                    _alias(row, story.person_id),
                )
                for row in rows
            ],
            last_wraps=False,
        )
    )
    yield from shortened(len(rows), len(story.identifiers), "identifiers")
    named = set(map(_own_id, story.identifiers))
    elsewhere = [row["person_id"] for row in story.aliases if row["person_id"] not in named]
    if elsewhere:
        yield indented(text(f"also known as {', '.join(elsewhere)}"))
    for strand in story.shared[: limit or None]:
        device = identifier(*strand.device) if strand.device is not None else strand.strand_id
        yield indented(
            text(
                f"{device} was in several hands in turn: {strand.own:,} of {plural(strand.events, 'event')} without a "
                f"login are this person's, {day(strand.first)} to {day(strand.last)}"
            )
        )
    if not story.edges:
        yield indented(Text("never seen together with another identifier", style="dim"))
        return
    yield Text()
    edges = newest(story.edges, limit)
    yield indented(
        grid(
            ("seen", "together", "", "so"),
            [
                (
                    day(row["first_time"]),
                    text(
                        f"{identifier(row['left_namespace'], row['left_value'])} + "
                        f"{identifier(row['right_namespace'], row['right_value'])}"
                    ),
                    status_words(row["status"]),
                    Text.assemble(
                        clean(rule_words(row["rule"], row["kind"])),
                        (conflict_words(row["conflict"]), "yellow"),
                        (f"; event {clean(row['first_event_id'])}", "dim"),
                    ),
                )
                for row in edges
            ],
        )
    )
    yield from shortened(len(edges), len(story.edges), "pairs")


def _alias(row: Row, person_id: str) -> Text:
    own = _own_id(row)
    return Text("names the person", style="bold") if own == person_id else text(own, "dim")


def _own_id(row: Row) -> str:
    return canonical_id(Identifier(row["namespace"], row["value"]))


def _sessions(story: PersonStory, limit: int) -> Iterator[RenderableType]:
    yield from heading("Sessions")
    names: dict[str, Counter[str]] = defaultdict(Counter)
    for event in story.events:
        if event["session_id"] is not None:
            names[event["session_id"]][event["name"]] += 1
    rows = newest(story.sessions, limit)
    yield indented(
        grid(
            ("began", ">lasted", ">events", "where", "what"),
            [
                (
                    day(row["started_at"]),
                    length(row["ended_at"] - row["started_at"]),
                    f"{row['events']:,}",
                    text("/".join(filter(None, (row["channel"], row["device"])))),
                    _what(row, names[row["session_id"]]),
                )
                for row in rows
            ],
        )
    )
    yield from shortened(len(rows), len(story.sessions), "sessions")


def _what(session: Row, names: Counter[str]) -> Text:
    said = Text()
    if session["conversions"]:
        said.append(plural(session["conversions"], "conversion") + "; ", style="bold green")
    said.append(", ".join(f"{n} {clean(name)}" if n > 1 else clean(name) for name, n in names.most_common()))
    if session["campaign"]:
        said.append(f"; campaign {clean(session['campaign'])}", style="dim")
    return said


def _events(story: PersonStory, limit: int) -> Iterator[RenderableType]:
    yield from heading("Events")
    moves = {row["evidence"].get("event_id"): row for row in story.transitions}
    rows = newest(story.events, limit)
    yield indented(
        grid(
            ("time", "event", "channel", "path", "id", "stage"),
            [
                (
                    second(row["event_time"]),
                    text(row["name"], "" if row["session_id"] else "dim"),
                    text(row["channel"]),
                    text(row["path"]),
                    text(row["event_id"], "dim"),
                    text(f"{ARROW} {moves[row['event_id']]['to_stage']}" if row["event_id"] in moves else "", "cyan"),
                )
                for row in rows
            ],
        )
    )
    yield from shortened(len(rows), len(story.events), "events")


def _signals(story: PersonStory, ontology: Ontology) -> Iterator[RenderableType]:
    journey = story.journey
    if journey is None:
        return
    yield from heading(f"What speaks for which stage, as of {day(journey['horizon'])}")
    same = journey["ontology_version"] == ontology.version
    stages = {stage.name: stage for stage in ontology.stages} if same else {}
    signals = {signal.name: signal for signal in ontology.signals} if same else {}
    rows: list[Sequence[Text | str]] = []
    for stage, intent in (journey["intents"] or {}).items():
        enter = stages[stage].enter if stage in stages else None
        here = stage == journey["stage"]
        score = f"{intent:.2f}" + (f" of {enter:g}" if enter is not None else "")
        rows.append(
            (text(f"{stage}{' (here)' if here else ''}", "bold cyan" if here else "bold"), score, "", "", "", "", "")
        )
        for signal in journey["signals"]:
            if signal["stage"] != stage:
                continue
            rule = signals.get(signal["signal"])
            rows.append(
                (
                    text(f"  {signal['signal']}"),
                    f"{signal['value']:.2f}",
                    _bar(signal["value"], rule.cap if rule is not None else None),
                    words.duration(rule.half_life) if rule is not None else "-",
                    f"{signal['count']:,}",
                    day(moment(signal["last_time"])),
                    text(signal["last_event_id"], "dim"),
                )
            )
    yield indented(
        grid(("stage and its signals", ">worth now", "of most", ">halves in", ">times", "last", "by event"), rows)
    )
    if not same:
        yield indented(
            text(f"no thresholds: they are of another ontology than the one in force, {ontology.version}", "dim italic")
        )


def _bar(value: float, most: float | None) -> Text:
    if not most:
        return Text()
    full = min(_BAR, round(_BAR * value / most))
    return Text.assemble(("\N{FULL BLOCK}" * full, "cyan"), ("\N{LIGHT SHADE}" * (_BAR - full), "dim"))


def _moves(story: PersonStory, limit: int) -> Iterator[RenderableType]:
    yield from heading("How the stage moved")
    rows = newest(story.transitions, limit)
    for row in rows:
        evidence = row["evidence"]
        yield indented(
            Text.assemble(
                (second(row["at"]), "dim"),
                f"  {clean(row['from_stage'] or 'the start')} {ARROW} ",
                (clean(row["to_stage"]), "bold cyan"),
                (f"  by {clean(row['decided_by'])}, confidence {evidence['confidence']:.2f}", "dim"),
                ("" if evidence.get("event_id") else ", by time alone", "dim"),
            )
        )
        yield indented(text(evidence["reason"]), 6)
        if evidence["signals"]:
            yield indented(text(f"signals then: {signal_words(evidence['signals'])}", "dim"), 6)
    if not rows:
        yield indented(Text("no stage yet"))
    yield from shortened(len(rows), len(story.transitions), "moves")


def signal_words(signals: Sequence[Row]) -> str:
    """Signals with their decayed values at a moment, the strongest first; what faded to 0.00 is only counted."""
    ranked = sorted(signals, key=lambda signal: (-signal["value"], signal["signal"]))
    told = [f"{s['signal']} {s['value']:.2f} ({s['stage']})" for s in ranked if s["value"] >= _FADED]
    faded = len(ranked) - len(told)
    return ", ".join([*told, f"{faded} more faded to nothing"] if faded else told)


def _scores(story: PersonStory, limit: int) -> Iterator[RenderableType]:
    yield from heading("What the model said")
    if not story.scores:
        yield indented(Text("nothing: no model was in force, the rules decided alone"))
        return
    names = [name for name in story.scores[-1] if name.startswith("p_")]
    rows = newest(story.scores, limit)
    yield indented(
        grid(
            ("time", *(f">{name.removeprefix('p_')}" for name in names), "model"),
            [(second(row["at"]), *_probabilities(row, names), text(row["model_version"], "dim")) for row in rows],
            last_wraps=False,
        )
    )
    yield from shortened(len(rows), len(story.scores), "scored points")


def _probabilities(row: Row, names: Sequence[str]) -> list[Text]:
    most = max((row[name] for name in names if row[name] is not None), default=None)
    return [
        Text("-") if row[name] is None else Text(f"{row[name]:.2f}", style="bold" if row[name] == most else "")
        for name in names
    ]


def _outcomes(story: PersonStory, limit: int) -> Iterator[RenderableType]:
    yield from heading("What came back")
    if not story.outcomes and not story.logged:
        yield indented(Text("nothing yet"))
        return
    chosen = {deed.action["action_id"]: deed.decision["chosen"] for deed in story.deeds if deed.action is not None}
    rows = newest(story.outcomes, limit)
    if rows:
        yield indented(
            grid(
                ("time", "outcome", ">value", "answers"),
                [
                    (
                        second(row["at"]),
                        text(row["kind"]),
                        number(row["value"]) if row["value"] is not None else "",
                        text(_answers(row, chosen)),
                    )
                    for row in rows
                ],
            )
        )
    yield from shortened(len(rows), len(story.outcomes), "outcomes")
    for label in newest(story.logged, limit):
        yield indented(
            text(
                f"experiment {label['decision_id']}, {day(label['decided_at'])}: arm {label['arm']} with propensity "
                f"{plain(label['propensity'])}, label {label['outcome']}"
            )
        )


def _answers(outcome: Row, chosen: dict[str, str]) -> str:
    action = outcome["action_id"]
    if action is None:
        return "no action by name: it counts for every decision whose window holds it"
    return f"{chosen[action]}, action {action}" if action in chosen else f"action {action}, logged elsewhere"
