"""What an ontology can never do, or does by accident: findings with line, severity and the way to mend them.

Input: a checked ``Ontology`` and, if at hand, what the sources emit. Output: ``Finding``s in the order of the file.
Errors: none; what cannot be read at all ``ontology_file`` refuses before. State: none. ``docs/ontology_check.md`` says
what each rule decides and what it cannot.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations

from contracts import documents
from contracts.documents import Node
from transforms.journey.check.emitted import Emitted
from transforms.journey.check.known_values import RANGES
from transforms.journey.check.ranges import Answer, Ranges
from transforms.journey.check.reach import counts_only_outside, fewest_events, most, resets_itself
from transforms.journey.check.rules import ERROR, NOTE, WARNING, Finding
from transforms.journey.facts import COUNTED, SESSION_COUNTED
from transforms.journey.ontology import Ontology, Signal, Stage
from transforms.journey.words import duration

_NEARLY = 0.95
_MANY_EVENTS = 25
_MOST_UNKNOWN = 10


def check(ontology: Ontology, sources: Emitted | None = None) -> list[Finding]:
    """Everything there is to say of an ontology, by line."""
    found = list(_Check(ontology, sources).findings())
    return sorted(found, key=lambda one: (one.line, one.rule, one.message))


class _Check:
    def __init__(self, ontology: Ontology, sources: Emitted | None) -> None:
        self.ontology = ontology
        self.sources = sources
        self.root = documents.parse(ontology.source, ontology.path)
        self.nodes = self.root.need("stages").list()
        self.ranges = RANGES if sources is None else RANGES.limited(self._never_counted(sources))

    def findings(self) -> Iterator[Finding]:
        for stage in self.ontology.stages:
            yield from self._conditions(stage)
            yield from self._intent(stage)
            yield from self._signals(stage)
            yield from self._shadows(stage)
            yield from self._times(stage)
            yield from self._opposites(stage)
        yield from self._overlaps()
        yield from self._two_meanings()
        if self.sources is not None:
            yield from self._outcomes(self.sources)
            yield from self._unknown(self.sources)

    def _say(self, rule: str, severity: str, node: Node, message: str, mending: str) -> Finding:
        return Finding(rule, severity, self.ontology.path, node.line, message, mending)

    def _at(self, stage: Stage, *keys: str) -> Node:
        """The node of a stage below some keys, or the nearest above it."""
        node = self.nodes[stage.number]
        for key in keys:
            below = node.get(key)
            if below is None:
                break
            node = below
        return node

    def _text(self, number: int | None) -> str | None:
        return None if number is None else self.ontology.conditions[number].text

    # --- what sources leave possible ----------------------------------------------------------------------------

    def _never_counted(self, sources: Emitted) -> dict[str, float]:
        """Facts that stay at nothing because no event shows what they count."""
        counted = {**COUNTED, **SESSION_COUNTED}
        never = {name: 0.0 for name, behaviour in counted.items() if behaviour not in sources.behaviours}
        if self.ontology.conversions.isdisjoint(sources.behaviours):
            never["conversions"] = 0.0
        return never

    def _is_fed(self, signal: Signal, ranges: Ranges, sources: Emitted | None) -> bool:
        if sources is not None and signal.behaviours.isdisjoint(sources.behaviours):
            return False
        return ranges.can(self._text(signal.when)).answer is not Answer.NEVER

    def _is_outside(self, stage: Stage, signal: Signal) -> bool:
        when, entry = self._text(signal.when), self._text(stage.entry_when)
        return counts_only_outside(signal, when, entry, self.ontology.conversions, RANGES)

    # --- one stage ----------------------------------------------------------------------------------------------

    def _conditions(self, stage: Stage) -> Iterator[Finding]:
        entry, end = self._text(stage.entry_when), self._text(stage.exit_when)
        if RANGES.can(entry).answer is Answer.NEVER:
            yield self._say(
                "contradiction",
                ERROR,
                self._at(stage, "entry", "when"),
                f"{entry!r} can never hold, so nobody enters {stage.name!r} by it",
                "take out the comparison that excludes the others",
            )
            return
        if self.ranges.can(entry).answer is Answer.NEVER and self.sources is not None:
            yield self._say(
                "unreachable-stage",
                ERROR,
                self._at(stage, "entry", "when"),
                f"{entry!r} never holds with what {self.sources.where} emits, so nobody enters {stage.name!r}",
                "name the events that show it under events.behaviours, or send them",
            )
        if end is None:
            return
        node = self._at(stage, "reentry" if stage.terminal else "exit", "when")
        if RANGES.can(end).answer is Answer.NEVER:
            yield self._say(
                "contradiction",
                WARNING,
                node,
                f"{end!r} can never hold, so it never ends {stage.name!r}",
                "take out the comparison that excludes the others, or the condition",
            )
        elif RANGES.implies(entry, end):
            yield self._say(
                "ends-at-once",
                ERROR,
                node,
                f"whoever meets the entry of {stage.name!r} meets {end!r} too, so nobody is ever in it",
                "make the condition hold for some of those in the stage, not for all",
            )
        elif (both := RANGES.can(entry, end)).answer is Answer.CAN and entry is not None:
            yield self._say(
                "overlap",
                NOTE,
                node,
                f"entry and end of {stage.name!r} can hold at once ({both}); who meets both is not in it",
                "nothing, if that is meant",
            )

    def _intent(self, stage: Stage) -> Iterator[Finding]:
        if stage.enter is None:
            return
        node = self._at(stage, "entry", "intent")
        fed = [signal for signal in stage.signals if self._is_fed(signal, self.ranges, self.sources)]
        outside = [signal for signal in fed if self._is_outside(stage, signal)]
        counted = [signal for signal in fed if signal not in outside]
        reachable = math.fsum(map(most, counted))
        if reachable < stage.enter:
            because = "" if self.sources is None else f" with what {self.sources.where} emits"
            reasons = (
                ([signal for signal in stage.signals if signal not in fed], "can never be fed"),
                (outside, "is fed only where the entry never holds again"),
                ([signal for signal in counted if resets_itself(signal)], "sets itself back"),
            )
            told = "; ".join(f"{', '.join(s.name for s in some)} {why}" for some, why in reasons if some)
            yield self._say(
                "unreachable-intent",
                ERROR,
                node,
                f"{stage.name!r} needs an intent of {stage.enter:g}, and{because} its signals add up to at most "
                f"{reachable:g}: {told}",
                "lower the intent, raise caps, or mend the signals named",
            )
        elif fewest_events(counted, stage.enter, _MANY_EVENTS) is None:
            yield self._say(
                "many-events",
                WARNING,
                node,
                f"{stage.name!r} needs an intent of {stage.enter:g}, which takes more than {_MANY_EVENTS} events even "
                "if all come at once and none fades",
                "raise the weights of its signals or lower the intent",
            )
        elif stage.enter > reachable * _NEARLY:
            yield self._say(
                "barely-reachable",
                WARNING,
                node,
                f"{stage.name!r} needs an intent of {stage.enter:g} of at most {reachable:g}: nearly every signal has "
                "to be at its cap at one time, while all of them fade",
                "lower the intent or raise the caps",
            )

    def _signals(self, stage: Stage) -> Iterator[Finding]:
        nodes = self._at(stage, "signals").list()
        for signal, node in zip(stage.signals, nodes, strict=True):
            when = self._text(signal.when)
            if RANGES.can(when).answer is Answer.NEVER:
                yield self._say(
                    "contradiction",
                    ERROR,
                    node.need("when"),
                    f"{when!r} can never hold, so nothing feeds signal {signal.name!r}",
                    "take out the comparison that excludes the others",
                )
            elif not self._is_fed(signal, self.ranges, self.sources) and self.sources is not None:
                unseen = ", ".join(sorted(signal.behaviours - set(self.sources.behaviours)))
                why = f"no event shows {unseen}" if unseen else f"{when!r} never holds"
                yield self._say(
                    "unfed-signal",
                    WARNING,
                    node,
                    f"signal {signal.name!r} of {stage.name!r} is never fed by what {self.sources.where} emits: {why}",
                    "name the events that show it under events.behaviours, send them, or replace the signal",
                )
            if self._is_outside(stage, signal):
                yield self._say(
                    "outside-entry",
                    WARNING,
                    node,
                    f"after what feeds signal {signal.name!r}, {self._text(stage.entry_when)!r} never holds again, so "
                    f"it leads nobody into {stage.name!r}",
                    "take the signal out, or what excludes it out of the entry",
                )
            if resets_itself(signal):
                yield self._say(
                    "resets-itself",
                    WARNING,
                    node,
                    f"all that feeds signal {signal.name!r} sets it back first, so it is never worth more than "
                    f"{signal.weight:g}",
                    "take what feeds it out of reset_by",
                )
        for (one, _), (other, node) in combinations(zip(stage.signals, nodes, strict=True), 2):
            shared = one.behaviours & other.behaviours
            if shared and RANGES.can(self._text(one.when), self._text(other.when)).answer is not Answer.NEVER:
                yield self._say(
                    "double-count",
                    NOTE,
                    node,
                    f"{', '.join(sorted(shared))} feeds both {one.name!r} and {other.name!r} of {stage.name!r}",
                    "nothing, if it is meant to count twice",
                )

    def _shadows(self, stage: Stage) -> Iterator[Finding]:
        for other in self.ontology.stages[stage.number + 1 :]:
            endless = other.exit_when is None and other.after is None and not other.by
            first = other.certain or not stage.certain
            if not endless or other.enter is not None or not first:
                continue
            entry = self._text(stage.entry_when)
            if RANGES.can(entry).answer is Answer.NEVER or not RANGES.implies(entry, self._text(other.entry_when)):
                continue
            yield self._say(
                "shadowed-stage",
                ERROR if other.certain else WARNING,
                self._at(stage, "entry"),
                f"whoever could be in {stage.name!r} by its rule is in {other.name!r}, which comes later: "
                + ("nobody is ever in it" if other.certain else "only a model can say it"),
                f"narrow the entry of {other.name!r}",
            )
            return

    def _times(self, stage: Stage) -> Iterator[Finding]:
        hysteresis = self.ontology.hysteresis
        slowest = max(stage.signals, key=lambda signal: signal.half_life)
        if stage.enter is not None and not stage.terminal:
            lasts = slowest.half_life * -math.log2(1 - hysteresis.margin)
            if not hysteresis.margin:
                yield self._say(
                    "no-margin",
                    WARNING,
                    self._at(stage, "entry", "intent"),
                    f"without hysteresis.margin {stage.name!r} is left a microsecond after its intent was just reached",
                    "state a hysteresis.margin, such as 0.25",
                )
            elif stage.after is not None and stage.after < hysteresis.back:
                yield self._say(
                    "dwell-outlasts-evidence",
                    WARNING,
                    self._at(stage, "exit", "after"),
                    f"{stage.name!r} lapses after {duration(stage.after)}, while hysteresis.back holds everybody "
                    f"{duration(hysteresis.back)}",
                    "shorten hysteresis.back or lengthen exit.after",
                )
            elif lasts < hysteresis.back:
                yield self._say(
                    "dwell-outlasts-evidence",
                    WARNING,
                    self._at(stage, "entry", "intent"),
                    f"who just reached {stage.name!r} falls below what keeps it within {duration(round(lasts))}, while "
                    f"hysteresis.back holds everybody {duration(hysteresis.back)}: half-lives have no say",
                    "shorten hysteresis.back, lengthen the half-lives, or widen the margin",
                )
        if not stage.number or stage.certain:
            return
        for signal, node in zip(stage.signals, self._at(stage, "signals").list(), strict=True):
            if signal.half_life < hysteresis.forward:
                yield self._say(
                    "evidence-fades-waiting",
                    WARNING,
                    node,
                    f"signal {signal.name!r} halves in {duration(signal.half_life)}, while a move on waits up to "
                    f"{duration(hysteresis.forward)}: what it showed may be gone by then",
                    "shorten hysteresis.forward or lengthen the half-life",
                )

    def _opposites(self, stage: Stage) -> Iterator[Finding]:
        """What speaks against a stage and what ends it: whether either can ever matter."""
        called = "reentry" if stage.terminal else "exit"
        if stage.weakened_by and stage.enter is None:
            yield self._say(
                "without-effect",
                WARNING,
                self._at(stage, "weakened_by"),
                f"no intent leads into {stage.name!r}, so weakening its signals moves nobody out of it",
                f"give the stage an entry.intent, or name under {called}.by what ends it",
            )
        if stage.after is not None and stage.rest >= stage.after:
            yield self._say(
                "without-effect",
                WARNING,
                self._at(stage, called, "rest"),
                f"{stage.name!r} lapses after {duration(stage.after)}, and for {duration(stage.rest)} its {called}.by "
                "does not count: it never ends the stage",
                "shorten the rest",
            )
        feeding = sorted({b for signal in stage.signals for b in signal.behaviours} & stage.by)
        if feeding and stage.enter is not None:
            yield self._say(
                "ends-at-once",
                WARNING,
                self._at(stage, called, "by"),
                f"{', '.join(feeding)} feeds {stage.name!r} and ends it as well: whoever would enter by it does not",
                f"name it in one of the two places: in the signals or under {called}.by",
            )
        if self.sources is None:
            return
        for key, shown in ((("weakened_by",), {b for b, _ in stage.weakened_by}), ((called, "by"), stage.by)):
            if shown and shown.isdisjoint(self.sources.behaviours):
                yield self._say(
                    "unseen-opposite",
                    WARNING,
                    self._at(stage, *key),
                    f"nothing that {self.sources.where} emits shows {', '.join(sorted(shown))}, so {'.'.join(key)} of "
                    f"{stage.name!r} never counts",
                    "name the events that show it under events.behaviours, or send them",
                )

    # --- stages together ----------------------------------------------------------------------------------------

    def _overlaps(self) -> Iterator[Finding]:
        by_condition = [s for s in self.ontology.stages if s.enter is None and s.entry_when is not None]
        for one, other in combinations(by_condition, 2):
            first, second = self._text(one.entry_when), self._text(other.entry_when)
            winner, loser = (one, other) if one.certain and not other.certain else (other, one)
            found = RANGES.can(first, second)
            if found.answer is Answer.CAN:
                yield self._say(
                    "overlap",
                    NOTE,
                    self._at(other, "entry", "when"),
                    f"the entries of {one.name!r} and {other.name!r} can hold at once ({found}); "
                    f"{winner.name!r} wins over {loser.name!r}",
                    "nothing, if that is meant",
                )
            elif found.answer is Answer.CANNOT_TELL:
                yield self._say(
                    "cannot-tell",
                    NOTE,
                    self._at(other, "entry", "when"),
                    f"whether the entries of {one.name!r} and {other.name!r} can hold at once cannot be told",
                    "compare facts with numbers and texts alone, or try both with wayline ontology diff",
                )

    def _two_meanings(self) -> Iterator[Finding]:
        events = self.root.need("events")
        for name in sorted(self.ontology.table.neutral & self.ontology.table.names.keys()):
            shown = ", ".join(self.ontology.table.names[name])
            yield self._say(
                "two-meanings",
                WARNING,
                events.get("neutral") or events,
                f"event {name!r} shows {shown} and is called neutral, which counts for nothing",
                "list it in one of the two places",
            )

        for name, behaviours in sorted(self.ontology.table.names.items()):
            for stage in self.ontology.stages:
                speaking = {b for signal in stage.signals for b in signal.behaviours}.intersection(behaviours)
                against = {b for b, _ in stage.weakened_by}.intersection(behaviours)
                if speaking and against:
                    yield self._say(
                        "two-meanings",
                        WARNING,
                        events.need("behaviours").need(min(against)),
                        f"event {name!r} speaks for {stage.name!r} ({', '.join(sorted(speaking))}) and against it "
                        f"({', '.join(sorted(against))})",
                        "let it show one behaviour",
                    )

    def _outcomes(self, sources: Emitted) -> Iterator[Finding]:
        for stage in self.ontology.stages:
            if stage.defining.isdisjoint(sources.behaviours):
                yield self._say(
                    "unseen-outcome",
                    WARNING,
                    self._at(stage, "defining"),
                    f"nothing that {sources.where} emits shows {', '.join(sorted(stage.defining))}, so a model never "
                    f"learns to foresee {stage.name!r}",
                    "name behaviours that are seen, or send the events",
                )

    def _unknown(self, sources: Emitted) -> Iterator[Finding]:
        most = sorted(sources.unknown.items(), key=lambda item: (-item[1], item[0]))
        node = self.root.need("events")
        for name, times in most[:_MOST_UNKNOWN]:
            yield self._say(
                "unknown-event",
                NOTE,
                node,
                f"{times:,} events named {name!r} were seen, which the ontology does not name",
                "list it under events.behaviours, or under events.neutral if it shows nothing",
            )
        if len(most) > _MOST_UNKNOWN:
            more = len(most) - _MOST_UNKNOWN
            yield self._say("unknown-event", NOTE, node, f"{more:,} further names are not named either", "as above")
