"""Decisions in words: what was chosen, which candidates fell and why, what followed.

Input: stories and deeds of ``reports.explain``. Output: rich renderables. Errors, state: none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rich.console import RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from reports.explain import DecisionStory, Deed
from reports.lookup import Row
from reports.rendering import (
    ARROW,
    clean,
    consent,
    date,
    day,
    grid,
    heading,
    indented,
    newest,
    plain,
    plural,
    second,
    shortened,
    text,
    values,
)
from reports.replaying import DIFFERENT, SAME
from transforms.decide.rules import NOTHING
from transforms.journey.facts import NEVER_DAYS

UNASKED = ("not considered at ", "stage ", "did not come from ")
"""How the reasons of candidates begin that are not meant for such a moment at all."""
_HOLDS = "does not hold: "
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STATUS = {"sent": "green", "failed": "red", "in_doubt": "yellow", "pending": "yellow"}
_REPLAY = {SAME: ("the same answer", "green"), DIFFERENT: ("another answer", "bold red")}


def is_unasked(candidate: Row) -> bool:
    """Whether a candidate fell only because it is meant for other moments or stages."""
    return bool(candidate["dropped_by"] == "not_eligible" and candidate["reason"].startswith(UNASKED))


def fate(candidate: Row) -> Text:
    """One word for what became of a candidate."""
    dropped = candidate["dropped_by"]
    if dropped is None:
        return Text("chosen", style="green")
    if is_unasked(candidate):
        return Text("not for this moment", style="dim")
    return text("condition" if dropped == "not_eligible" else dropped, "yellow")


def why(candidate: Row, decision: Row) -> Text:
    """Why a candidate fell, with the values its condition looked at."""
    reason = candidate["reason"]
    said = text(reason)
    if reason.startswith(_HOLDS):
        seen = {**decision["features"], **decision["facts"], "stage": decision["stage"], "trigger": decision["trigger"]}
        named = [name for name in dict.fromkeys(_WORD.findall(reason.removeprefix(_HOLDS))) if name in seen]
        if named:
            said.append(f"  [{', '.join(f'{name} {plain(seen[name])}' for name in named)}]", style="dim")
    return said


def is_telling(deed: Deed) -> bool:
    """Whether there is more to a decision than that nothing was meant for such a moment."""
    decision = deed.decision
    return decision["chosen"] != NOTHING or not all(map(is_unasked, decision["candidates"]))


# --- of a person ----------------------------------------------------------------------------------------------------


def tell_deeds(deeds: Sequence[Deed], limit: int) -> Iterator[RenderableType]:
    """A person's decisions: the sums by candidate, then the newest one by one."""
    yield from heading("What was decided, and why not more")
    if not deeds:
        yield indented(Text("nothing: the policy was never asked about this person"))
        return
    quiet = sum(not is_telling(deed) for deed in deeds)
    done = sum(deed.action is not None and deed.action["status"] == "sent" for deed in deeds)
    chose = [deed for deed in deeds if deed.decision["chosen"] != NOTHING]
    line = f"asked {plural(len(deeds), 'time')}: chose something {plural(len(chose), 'time')}, {done:,} of it sent"
    yield indented(text(line + (f"; {plural(quiet, 'time')} no candidate was meant for the moment" if quiet else "")))
    yield Text()
    yield indented(_sums(deeds))
    if chose:
        yield Text()
        yield indented(Text("What was chosen", style="underline"))
    shown = newest(chose, limit)
    for deed in shown:
        yield from _brief(deed)
    yield from shortened(len(shown), len(chose), "choices")
    groups = _alike(deed for deed in deeds if deed.decision["chosen"] == NOTHING and is_telling(deed))
    if groups:
        yield Text()
        yield indented(Text("Why nothing was chosen, though something was meant for the moment", style="underline"))
    last = newest(groups, limit)
    for group in last:
        yield from _brief(group[-1], len(group), group[0])
    yield from shortened(len(last), len(groups), "kinds of such moments")


def _alike(deeds: Iterable[Deed]) -> list[list[Deed]]:
    """Decisions of one kind of moment at which the same fell for the same reasons, by the time of their last."""
    groups: dict[object, list[Deed]] = {}
    for deed in deeds:
        decision = deed.decision
        fell = tuple((c["name"], c["dropped_by"], c["reason"]) for c in decision["candidates"] if not is_unasked(c))
        groups.setdefault((decision["trigger"], decision["stage"], fell), []).append(deed)
    return sorted(groups.values(), key=lambda group: group[-1].decision["at"])


def _sums(deeds: Sequence[Deed]) -> Table:
    chosen: Counter[str] = Counter()
    fell: dict[str, Counter[str]] = {}
    for deed in deeds:
        for candidate in deed.decision["candidates"]:
            counted = fell.setdefault(candidate["name"], Counter())
            if candidate["dropped_by"] is None:
                chosen[candidate["name"]] += 1
            elif not is_unasked(candidate):
                counted[fate(candidate).plain] += 1
    rows = [
        (
            text(name),
            f"{chosen[name]:,}",
            text(", ".join(f"{reason} {n:,}" for reason, n in counted.most_common()) or "-"),
        )
        for name, counted in fell.items()
        if chosen[name] or counted
    ]
    return grid(("candidate", ">chosen", "fell, though meant for the moment"), rows)


def _brief(deed: Deed, times: int = 1, first: Deed | None = None) -> Iterator[RenderableType]:
    """A decision, or the last of several alike of which ``first`` is the first."""
    decision = deed.decision
    line = Text.assemble((day(decision["at"]), "dim"), f"  {clean(decision['trigger'])} in {clean(decision['stage'])}")
    if decision["chosen"] != NOTHING:
        line.append(": ").append(clean(decision["chosen"]), style="bold")
    if decision["channel"]:
        line.append(f" by {clean(decision['channel'])}")
    if times > 1 and first is not None:
        line.append(f", {times:,} times since {date(first.decision['at'])}")
    line.append(f"  {decision['decision_id']}", style="dim")
    yield indented(line)
    if decision["chosen"] != NOTHING:
        yield indented(followed(deed), 6)
    unasked = 0
    for candidate in decision["candidates"]:
        if is_unasked(candidate):
            unasked += 1
        elif candidate["dropped_by"] is not None:
            yield indented(
                Text.assemble(clean(candidate["name"]), " fell: ", fate(candidate), ", ", why(candidate, decision)), 6
            )
    if unasked:
        yield indented(Text(f"{plural(unasked, 'further candidate')} not meant for this moment", style="dim"), 6)


def followed(deed: Deed) -> Text:
    """What became of a decision, in one line."""
    action = deed.action
    if action is None:
        return Text("no action is recorded")
    status = clean(action["status"])
    said = Text(clean(action_reason(action)))
    if deed.decision["chosen"] != NOTHING:
        said = Text.assemble((status, _STATUS.get(status, "")), ": " if said else "", said)
    for outcome in deed.outcomes:
        said.append(f"; {clean(outcome['kind'])} {day(outcome['at'])}", style="green")
    if deed.label is not None:
        counted = deed.label["arm"]
        whose = "" if counted == deed.decision["chosen"] else f", counted as doing {counted}"
        said.append(clean(f"; label {deed.label['outcome']}{whose}"))
    return said


def action_reason(action: Row) -> str:
    """Why it was not sent, or what the channel answered; the word "nothing" is not said twice."""
    reason: str = action["reason"] or ""
    while reason.startswith("nothing: nothing"):
        reason = reason.removeprefix("nothing: ")
    return reason


# --- one decision ---------------------------------------------------------------------------------------------------


def tell_decision(story: DecisionStory, out: str) -> Iterator[RenderableType]:
    """The whole story of a decision."""
    decision = story.deed.decision
    yield Panel(_headline(story), title=text(f"Decision {decision['decision_id']}", "bold"), title_align="left")
    yield from heading("Why then")
    yield indented(_asked(story))
    if story.transition is not None and decision["trigger"] == "transition":
        move = story.transition
        moved = f"{move['from_stage'] or 'the start'} {ARROW} {move['to_stage']}"
        yield indented(text(f"{moved}: {move['evidence']['reason']}"))
    if story.session is not None:
        session = story.session
        yield indented(
            text(
                f"session {session['session_id']}: began {second(session['started_at'])}, "
                f"{plural(session['events'], 'event')}, {session['channel']}"
            )
        )
    yield from heading("The candidates")
    yield indented(
        grid(
            ("candidate", "channel", ">priority", "fate", "why"),
            [
                (
                    text(c["name"], "bold" if c["dropped_by"] is None else ""),
                    text(c["channel"]),
                    f"{c['priority']:g}",
                    fate(c),
                    why(c, decision) if c["dropped_by"] else text(decision["reason"].partition(": ")[2]),
                )
                for c in decision["candidates"]
            ],
        )
    )
    yield from heading("What it saw")
    yield indented(Text.assemble(("consent  ", "dim"), consent(decision["consent"])))
    past = {name: value for name, value in decision["facts"].items() if name.startswith("policy.")}
    facts = {name: value for name, value in decision["facts"].items() if name not in past}
    for title, seen in (("facts", facts), ("features", decision["features"]), ("what the policy counted", past)):
        told = {name: value for name, value in seen.items() if value or name in past}
        if told:
            yield Text()
            unsaid = len(seen) - len(told)
            yield indented(Text(title + (f" ({unsaid} more are 0, no or empty)" if unsaid else ""), style="dim"))
            yield indented(values(sorted((name.removeprefix("policy."), _seen(name, told[name])) for name in told)))
    yield from heading("What followed")
    yield from map(indented, _aftermath(story.deed))
    yield from heading("Versions and replay")
    for name in ("policy_version", "ontology_version", "model_version"):
        missing = "none in force: rules alone" if name == "model_version" else "unknown"
        yield indented(text(f"{name.removesuffix('_version'):9} {decision[name] or missing}"))
    said, style = _REPLAY.get(story.replayed.verdict, ("cannot be replayed", "yellow"))
    yield indented(Text.assemble("replay    ", (said, style), f": {clean(story.replayed.detail)}"))
    if story.person_id is not None:
        yield Text()
        yield text(f"the person: wayline explain --out {out} --person {story.person_id}", "dim")


def _seen(name: str, value: object) -> object:
    return "never" if name == "days_since_conversion" and value == NEVER_DAYS else value


def _headline(story: DecisionStory) -> Text:
    decision = story.deed.decision
    chosen = Text(clean(decision["chosen"]), style="bold")
    if decision["channel"]:
        template = next((c["action"] for c in decision["candidates"] if c["dropped_by"] is None), "")
        chosen.append(clean(f" ({template} by {decision['channel']})"))
    whom = decision["person_id"]
    if story.person_id is None:
        whom += ", of whom nothing is left"
    elif story.person_id != whom:
        whom += f", now {story.person_id}"
    plan = ""
    if decision["plan"] is not None:
        plan = f"\nstep {decision['plan_step'] + 1} of the plan {clean(decision['plan'])}"
    return Text.assemble(
        f"{second(decision['at'])} UTC, for {clean(whom)}, in {clean(decision['stage'])}\n",
        chosen,
        f": {clean(decision['reason'].partition(': ')[2] or decision['reason'])}\n",
        f"propensity {decision['propensity']:g}",
        plan,
    )


def _asked(story: DecisionStory) -> Text:
    decision = story.deed.decision
    kinds = {
        "transition": "the stage changed",
        "session": "a session began",
        "step": "a plan's wait was over",
    }
    said = text(f"{decision['trigger']}: {kinds.get(decision['trigger'], '')}")
    event = story.asked_by
    if event is None:
        said.append(", by time alone")
        if story.latest is not None:
            said.append(
                clean(f"; the latest event before was {story.latest['name']}, {second(story.latest['event_time'])}")
            )
    else:
        began = ", in a plan begun" if decision["plan"] is not None else ","
        said.append(clean(f"{began} by {event['name']}, {second(event['event_time'])}, event {event['event_id']}"))
    return said


def _aftermath(deed: Deed) -> Iterator[Text]:
    action = deed.action
    if action is None:
        yield Text("no action is recorded")
    else:
        status = clean(action["status"])
        yield Text.assemble(
            ("action    ", "dim"), (status, _STATUS.get(status, "")), ": ", clean(action_reason(action))
        )
        yield text(
            f"          {action['action_id']}, {second(action['at'])}, {plural(action['attempts'], 'attempt')}", "dim"
        )
    for outcome in deed.outcomes:
        worth = f", value {outcome['value']:g}" if outcome["value"] is not None else ""
        yield Text.assemble(("outcome   ", "dim"), clean(f"{outcome['kind']} {second(outcome['at'])}{worth}"))
    if not deed.outcomes:
        yield Text.assemble(("outcome   ", "dim"), "none came back")
    yield Text.assemble(("label     ", "dim"), label_words(deed.label))


def label_words(label: Row | None) -> str:
    """What learning makes of a decision."""
    if label is None:
        return "none yet: its window was not over at the horizon, or its action has no result"
    if label["outcome"] == "none":
        return f"none, a negative: no conversion until {second(label['matured_at'])}; counted as {clean(label['arm'])}"
    return f"{clean(label['outcome'])} {second(label['at'])}; counted as {clean(label['arm'])}"
