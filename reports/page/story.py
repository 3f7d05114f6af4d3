"""The story of a person and of a decision as HTML: what happened, what the stage was and why, what was decided.

Input: the stories of ``reports.explain``. Output: HTML, every text escaped. Times are UTC. Errors, state: none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from html import escape

from contracts.event import Identifier
from reports.explain import DecisionStory, Deed, PersonStory
from reports.identity_words import conflict_words, rule_words, status_words
from reports.lookup import Row
from reports.page.charts import bars, table
from reports.rendering import ARROW, clean, consent, day, identifier, length, newest, plain, plural, second
from reports.tell_decisions import action_reason, fate, followed, is_unasked, label_words, why
from reports.tell_person import signal_words
from transforms.decide.rules import NOTHING
from transforms.identity.ids import canonical_id

LIMIT = 50
"""Most rows a part of a story shows, the newest."""


def person_html(story: PersonStory, limit: int = LIMIT) -> str:
    """The whole story of a person."""
    return "".join(
        (
            f"<h2>Person {_t(story.person_id)}</h2>",
            _part("now", "Where the journey stands", _now(story)),
            _part("moves", "How the stage moved, and why", _moves(story, limit)),
            _part("timeline", "Sessions and their events", _sessions(story, limit)),
            _part("decided", "What was decided, and its fate", _deeds(story.deeds, limit)),
            _part("outcomes", "What came back", _outcomes(story, limit)),
            _part("who", "Identity: what was seen together", _identity(story, limit)),
        )
    )


def decision_html(story: DecisionStory) -> str:
    """The whole story of a decision."""
    deed, decision = story.deed, story.deed.decision
    whom = story.person_id or decision["person_id"]
    facts = [
        ("when", f"{second(decision['at'])}, at a {decision['trigger']} in {decision['stage']}"),
        ("chosen", decision["chosen"]),
        ("why", decision["reason"]),
        ("propensity", f"{decision['propensity']:g}"),
        ("what followed", followed(deed).plain),
        ("label", label_words(deed.label)),
        ("consent", consent(decision["consent"]).plain),
        ("policy", decision["policy_version"]),
        ("model", decision["model_version"] or "none in force: rules alone"),
        ("decided again", f"{story.replayed.verdict}: {story.replayed.detail}"),
    ]
    if story.asked_by is not None:
        facts.insert(1, ("asked by", f"{story.asked_by['name']}, {second(story.asked_by['event_time'])}"))
    if story.transition is not None:
        facts.insert(1, ("the stage then", f"{_move(story.transition)}: {story.transition['evidence']['reason']}"))
    person = f'<p>For <a href="/find?id={_t(whom)}">{_t(whom)}</a>.</p>'
    seen = sorted({**decision["facts"], **decision["features"]}.items())
    saw = table("Facts and features at the moment", ("name", "value"), [(n, plain(v)) for n, v in seen if v])
    return (
        f"<h2>Decision {_t(decision['decision_id'])}</h2>"
        + _part("now", "What was decided", person + _list(facts))
        + _part("candidates", "The candidates", _candidates(decision))
        + _part("saw", "What it saw", f"<details><summary>Facts and features</summary>{saw}</details>")
    )


def _now(story: PersonStory) -> str:
    facts = [("asked for", story.asked)] if story.asked else []
    journey = story.journey
    if journey is None:
        facts.append(("stage", "no journey: nothing of what this person did is left, or none of it was behaviour"))
        return _list(facts)
    counts = [plural(journey[f"{noun}s"], noun) for noun in ("event", "session", "conversion")]
    facts += [
        ("stage", f"{journey['stage']} since {day(journey['since'])}, by {journey['decided_by']}"),
        ("confidence", f"{journey['confidence']:.2f}"),
        ("did", f"{counts[0]} in {counts[1]}, {counts[2]}"),
        ("consent", consent(journey["consent"] or {}).plain),
        ("as of", f"{second(journey['horizon'])} UTC"),
        ("model", journey["model_version"] or "none, rules alone"),
    ]
    intents = (journey["intents"] or {}).items()
    speaks = bars("What speaks for each stage now", [(stage, value, f"{value:.2f}") for stage, value in intents])
    signals = f"<p>Signals now: {_t(signal_words(journey['signals']))}.</p>" if journey["signals"] else ""
    return _list(facts) + speaks + signals


def _moves(story: PersonStory, limit: int) -> str:
    items = []
    for row in reversed(newest(story.transitions, limit)):
        evidence = row["evidence"]
        by = f"by {row['decided_by']}, confidence {evidence['confidence']:.2f}"
        event = evidence.get("event_id")
        cause = f"at event {event}" if event else "by time alone"
        signals = f"<br>Signals then: {_t(signal_words(evidence['signals']))}." if evidence["signals"] else ""
        items.append(
            f"<li><time>{second(row['at'])}</time> <strong>{_t(_move(row))}</strong>, {_t(by)}, {_t(cause)}<br>"
            f"{_t(evidence['reason'])}{signals}</li>"
        )
    return _listed(items, "no stage yet") + _left(story.transitions, limit, "moves")


def _move(row: Row) -> str:
    return f"{row['from_stage'] or 'the start'} {ARROW} {row['to_stage']}"


def _sessions(story: PersonStory, limit: int) -> str:
    within: dict[str | None, list[Row]] = defaultdict(list)
    for event in story.events:
        within[event["session_id"]].append(event)
    moved = {row["evidence"].get("event_id"): _move(row) for row in story.transitions}
    items = []
    for row in reversed(newest(story.sessions, limit)):
        events = within[row["session_id"]]
        did = plural(row["conversions"], "conversion") + ", " if row["conversions"] else ""
        where = "/".join(filter(None, (row["channel"], row["device"])))
        changes = [moved[event["event_id"]] for event in events if event["event_id"] in moved]
        said = f"{day(row['started_at'])}, {length(row['ended_at'] - row['started_at'])}, {where}: "
        said += f"{did}{plural(row['events'], 'event')}" + "".join(f"; {change}" for change in changes)
        items.append(_unfolded(said, _events(events, moved)))
    alone = within[None]
    if alone:
        items.append(_unfolded(f"outside of sessions: {plural(len(alone), 'event')}", _events(alone[-limit:], moved)))
    return "".join(items) + _left(story.sessions, limit, "sessions")


def _events(events: Sequence[Row], moved: dict[str, str]) -> str:
    rows = [
        (second(e["event_time"]), e["name"], e["channel"], e["path"], e["event_id"], moved.get(e["event_id"]))
        for e in events
    ]
    return table("Events", ("time", "event", "channel", "path", "id", "stage"), rows)


def _deeds(deeds: Sequence[Deed], limit: int) -> str:
    if not deeds:
        return "<p>Nothing: the policy was never asked about this person.</p>"
    chose = [deed for deed in deeds if deed.decision["chosen"] != NOTHING]
    told = f"<p>Asked {plural(len(deeds), 'time')}, chose something {plural(len(chose), 'time')}.</p>"
    items = []
    for deed in reversed(newest(deeds, limit)):
        decision = deed.decision
        at = f"{day(decision['at'])}, {decision['trigger']} in {decision['stage']}"
        came = followed(deed).plain if decision["chosen"] != NOTHING else decision["reason"].partition(": ")[2]
        whole = f'<p><a href="/find?id={_t(decision["decision_id"])}">The whole decision</a></p>'
        items.append(_unfolded(f"{at}: {decision['chosen']}; {came}", _candidates(decision) + whole))
    return told + "".join(items) + _left(deeds, limit, "decisions")


def _candidates(decision: Row) -> str:
    rows = [
        (
            c["name"],
            c["channel"],
            c["priority"],
            fate(c).plain,
            why(c, decision).plain if c["dropped_by"] else decision["reason"].partition(": ")[2],
        )
        for c in sorted(decision["candidates"], key=is_unasked)
    ]
    return table("Candidates", ("candidate", "channel", "priority", "fate", "why"), rows)


def _outcomes(story: PersonStory, limit: int) -> str:
    chosen = {deed.action["action_id"]: deed for deed in story.deeds if deed.action is not None}
    items = []
    for row in reversed(newest(story.outcomes, limit)):
        deed = chosen.get(row["action_id"])
        answers = ""
        if deed is not None and deed.action is not None:
            answers = f", answers {deed.decision['chosen']} ({action_reason(deed.action) or deed.action['status']})"
        worth = f", value {row['value']:g}" if row["value"] is not None else ""
        items.append(f"<li>{second(row['at'])} {_t(row['kind'])}{worth}{_t(answers)}</li>")
    return _listed(items, "nothing yet") + _left(story.outcomes, limit, "outcomes")


def _identity(story: PersonStory, limit: int) -> str:
    names = table(
        "Identifiers, as pseudonyms",
        ("identifier", "pseudonym", "first seen", "last seen", ""),
        [
            (
                row["namespace"],
                row["value"],
                day(row["first_seen"]),
                day(row["last_seen"]),
                "names the person"
                if canonical_id(Identifier(row["namespace"], row["value"])) == story.person_id
                else "",
            )
            for row in newest(story.identifiers, limit)
        ],
    )
    edges = table(
        "Pairs seen together",
        ("seen", "together", "fate", "so", "event"),
        [
            (
                day(row["first_time"]),
                f"{identifier(row['left_namespace'], row['left_value'])} + "
                f"{identifier(row['right_namespace'], row['right_value'])}",
                status_words(row["status"]).plain,
                rule_words(row["rule"], row["kind"]) + conflict_words(row["conflict"]),
                row["first_event_id"],
            )
            for row in newest(story.edges, limit)
        ],
    )
    return names + _left(story.identifiers, limit, "identifiers") + edges + _left(story.edges, limit, "pairs")


# --- pieces ---------------------------------------------------------------------------------------------------------


def _t(value: object) -> str:
    return escape(clean(value))


def _part(name: str, title: str, content: str) -> str:
    return f'<section id="{name}" aria-labelledby="{name}-title"><h3 id="{name}-title">{title}</h3>{content}</section>'


def _list(facts: Iterable[tuple[str, object]]) -> str:
    return "<dl>" + "".join(f"<dt>{_t(name)}</dt><dd>{_t(value)}</dd>" for name, value in facts) + "</dl>"


def _listed(items: Sequence[str], none: str) -> str:
    return f"<ol>{''.join(items)}</ol>" if items else f"<p>{none}</p>"


def _unfolded(summary: str, content: str) -> str:
    return f"<details><summary>{_t(summary)}</summary>{content}</details>"


def _left(items: Sequence[object], limit: int, what: str) -> str:
    return f'<p class="soft">The newest {limit:,} of {len(items):,} {what}.</p>' if len(items) > limit else ""
