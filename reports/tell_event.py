"""An event's story in words: its fate, whose it is, what it fed, what it moved, what was decided at it.

Input: an ``EventStory``. Output: rich renderables for 100 columns; never a payload. Errors, state: none.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.panel import Panel
from rich.text import Text

from reports.explain import EventStory
from reports.identity_words import rule_words
from reports.lookup import Row
from reports.rendering import ARROW, clean, grid, heading, identifier, indented, length, plural, second, text
from reports.tell_decisions import followed, label_words
from transforms.dead_letter import REASONS
from transforms.journey import words


def tell_event(story: EventStory, out: str) -> Iterator[RenderableType]:
    """The whole story of an event."""
    yield Panel(_headline(story), title=text(f"Event {story.event_id}", "bold"), title_align="left")
    for letter in story.letters:
        yield from _letter(letter, story, out)
    if story.unread:
        yield indented(
            text(f"{plural(story.unread, 'dead letter')} could not be searched for it: no key at hand", "yellow")
        )
    if story.event is None:
        return
    yield from _place(story, story.event)
    yield from _signals(story)
    if story.moves:
        yield from heading("What it moved")
        for row in story.moves:
            yield indented(
                text(f"{row['from_stage'] or 'the start'} {ARROW} {row['to_stage']}: " + row["evidence"]["reason"])
            )
    yield from _identity(story)
    yield from _decisions(story)
    yield from _answer(story)
    yield Text()
    yield text(f"the person: wayline explain --out {out} --person {story.event['person_id']}", "dim")


def _headline(story: EventStory) -> Text:
    event = story.event
    if event is None:
        late = all(letter["table"] == "expired_late" for letter in story.letters)
        return Text("not accepted: " + ("it came too late" if late else "it is a dead letter"), style="bold yellow")
    where = ", ".join(clean(event[name]) for name in ("channel", "device_class", "path") if event[name])
    waited = event["received_time"] - event["event_time"]
    arrival = f"received {length(waited)} later" if waited.total_seconds() >= 0 else "received before, by its clock"
    fate = Text.assemble(
        ("accepted", "bold green"), f": {clean(event['name'])} at {second(event['event_time'])} UTC, {arrival}\n"
    )
    fate.append(f"from {clean(event['source'])}: {where}\n")
    fate.append(f"person {event['person_id']}, strand {event['strand_id']}")
    if event["correlation_id"]:
        fate.append(f"\ncorrelation {clean(event['correlation_id'])}")
    if event["flags"]:
        fate.append(f"\nnoticed: {clean(', '.join(event['flags']))}", style="yellow")
    return fate


def _letter(letter: Row, story: EventStory, out: str) -> Iterator[RenderableType]:
    title = "It came too late" if letter["table"] == "expired_late" else "It is a dead letter"
    if story.event is not None:
        title = "Another event of this id was rejected"
    yield from heading(title)
    yield indented(
        Text.assemble(
            f"{second(letter['at'])} at {clean(letter['stage'])}: ",
            (clean(letter["reason"]), "bold yellow"),
            clean(f", {letter['detail']}" if letter["detail"] else ""),
        )
    )
    yield indented(text(REASONS.get(letter["reason"], "")))
    yield indented(
        text(
            f"from {letter['source']}; dead letter {letter['dead_letter_id']}, schema {letter['schema_id']}",
            "dim",
        )
    )
    yield indented(text("it is kept whole and encrypted; once the cause is mended, feed it again with", "dim"))
    yield indented(text(f"wayline replay-dead-letters --out {out} --reason {letter['reason']} --to FOLDER", "dim"), 4)


def _place(story: EventStory, event: Row) -> Iterator[RenderableType]:
    yield from heading("Where it belongs")
    session = story.session
    if session is None:
        yield indented(Text("no session: it is no behaviour of the person, such as a receipt"))
    else:
        yield indented(
            text(
                f"event {story.place} of {story.of} of session {session['session_id']}, "
                f"{second(session['started_at'])} to {second(session['ended_at'])}, {session['channel']}"
            )
        )
    shows = ", ".join(event["behaviours"] or ()) or "none that the ontology knows"
    yield indented(text(f"behaviours it shows: {shows}"))


def _signals(story: EventStory) -> Iterator[RenderableType]:
    yield from heading("Which signals it fed")
    for signal in story.listening:
        held = " if its condition holds" if signal.when is not None else ""
        yield indented(
            text(
                f"{signal.name} of {signal.stage}: {signal.weight:g}{held}, halving every "
                f"{words.duration(signal.half_life)}, at most {signal.cap:g}"
            )
        )
    if not story.listening:
        known = story.journey is not None and story.event is not None
        yield indented(Text("none by the ontology in force" if known else "none"))
    if story.named:
        yield Text()
        yield indented(
            grid(
                ("named in", "at", "signal", ">worth then"),
                [
                    (
                        text(row["where"]),
                        second(row["at"]),
                        text(f"{row['signal']} of {row['stage']}"),
                        f"{row['value']:.2f}",
                    )
                    for row in story.named
                ],
                last_wraps=False,
            )
        )
        yield indented(Text("named is the last event that fed a signal; the value is of all its events", style="dim"))


def _identity(story: EventStory) -> Iterator[RenderableType]:
    if not story.edges:
        return
    yield from heading("What it showed about identity")
    for row in story.edges:
        pair = f"{identifier(row['left_namespace'], row['left_value'])} + "
        pair += identifier(row["right_namespace"], row["right_value"])
        which = " and ".join(place for place in ("first", "last") if row[f"{place}_event_id"] == story.event_id)
        yield indented(text(f"{which} to show {pair} together: {rule_words(row['rule'], row['kind'])}"))


def _decisions(story: EventStory) -> Iterator[RenderableType]:
    yield from heading("What was decided at it")
    if not story.deeds:
        yield indented(Text("nothing: it neither began a session nor moved the stage"))
    for deed in story.deeds:
        decision = deed.decision
        yield indented(
            Text.assemble(
                (second(decision["at"]), "dim"),
                f"  {clean(decision['trigger'])}: ",
                (clean(decision["chosen"]), "bold"),
                (f"  {decision['decision_id']}", "dim"),
            )
        )
        yield indented(followed(deed), 6)


def _answer(story: EventStory) -> Iterator[RenderableType]:
    if story.outcome is None and story.answered is None and story.logged is None:
        return
    yield from heading("What it answers")
    if story.outcome is not None:
        worth = f", value {story.outcome['value']:g}" if story.outcome["value"] is not None else ""
        named = f", of action {story.outcome['action_id']}" if story.outcome["action_id"] else ", of no action by name"
        yield indented(text(f"outcome {story.outcome['kind']}{worth}{named}"))
    if story.answered is not None:
        decision = story.answered.decision
        yield indented(text(f"decision {decision['decision_id']}, {second(decision['at'])}: {decision['chosen']}"))
        yield indented(text(f"label: {label_words(story.answered.label)}"))
    if story.logged is not None:
        yield indented(text(f"an experiment's log: arm {story.logged['arm']}, label {label_words(story.logged)}"))
