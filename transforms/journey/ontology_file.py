"""Reading and checking an ontology file: every fault with its line, before anything runs.

Input: YAML (``contracts.documents``). Output: ``Ontology``. Errors: ``ConfigurationError`` with file and line, and the
nearest known word for a misspelt one. State: none.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from contracts import documents
from contracts.documents import Node
from contracts.errors import ConfigurationError
from contracts.event import DAY, HOUR, MINUTE
from features.journey_features import STAGE_DERIVED
from features.turning import TURNS, UNTIMED
from transforms import conditions
from transforms.journey.events_file import check_name, read_table
from transforms.journey.facts import EVENT_FACTS, HOLDERS, TIME_FACTS
from transforms.journey.ontology import (
    MAX_STAGES,
    SIGNALS_PER_STAGE,
    Hysteresis,
    ModelRule,
    Ontology,
    Signal,
    Stage,
)
from transforms.journey.session_rule import read_session_rule, with_by

_TOP = ("name", "description", "sessions", "people", "conversion", "model", "hysteresis", "stages", "events")
_STAGE = (
    "name", "description", "entry", "exit", "certain", "terminal", "reentry", "defining", "benchmark", "weakened_by",
    "signals",
)  # fmt: skip
_EXIT = ("when", "by", "after", "since", "rest")
_SIGNAL = ("name", "description", "behaviours", "when", "weight", "half_life", "cap", "reset_by")
_LEAST_HALF_LIFE = MINUTE

VOCABULARY = conditions.Vocabulary(
    dict.fromkeys(TURNS, conditions.DOUBLE) | {name: kind for name, (kind, _) in EVENT_FACTS.items()}
)
"""What conditions of an ontology may use: the facts that only an event can change, and the features of which every
change has a computed instant. Of one name the fact counts."""


def read_ontology(path: str, session_by: str | None = None) -> Ontology:
    """Read an ontology file; see ``ontology.load_ontology``."""
    documents.load(path)  # says what is wrong with an unreadable, oversized or binary file
    return parse_ontology(Path(path).read_text(encoding="utf-8"), path, session_by)


def parse_ontology(text: str, path: str, session_by: str | None = None) -> Ontology:
    """Like ``read_ontology``, from text; ``path`` is what complaints name."""
    return _Reader(documents.parse(text, path), session_by).ontology(text, path)


def ontology_version(name: str, content: object) -> str:
    """``name@hash``: the hash is of the content, so comments and layout do not change the version."""
    plain = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"{name}@{hashlib.blake2b(plain.encode(), digest_size=6).hexdigest()}"


@dataclass
class _Reader:
    root: Node
    session_by: str | None
    behaviours: tuple[str, ...] = ()
    margin: float = 0.0
    compiled: list[conditions.Condition] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)

    def ontology(self, text: str, path: str) -> Ontology:
        top = self.root.mapping(_TOP)
        name = self._name(self.root.need("name"), "the ontology's name")
        table = read_table(self.root.need("events"))
        self.behaviours = tuple(
            sorted({b for found in table.names.values() for b in found} | set(table.page_default))
        ) + tuple(behaviour for behaviour, _ in table.page_paths)
        sessions = with_by(read_session_rule(top.get("sessions"), self.behaviours), self.session_by, self.root.path)
        conversion = self.root.need("conversion")
        conversion.mapping(("behaviours", "value"))
        conversions = self._behaviours(conversion.need("behaviours"))
        value = conversion.get("value")
        hysteresis = self._hysteresis(top.get("hysteresis"))
        self.margin = hysteresis.margin
        stages = self._stages(self.root.need("stages"))
        content = self.root.plain()
        if self.session_by is not None:
            content["sessions"] = {**(content.get("sessions") or {}), "by": self.session_by}
        return Ontology(
            name=name,
            version=ontology_version(name, content),
            path=path,
            stages=stages,
            signals=tuple(self.signals),
            conditions=tuple(self.compiled),
            sessions=sessions,
            model=self._model(top.get("model")),
            hysteresis=hysteresis,
            table=replace(table, views=sessions.views, heartbeats=sessions.heartbeats),
            conversions=conversions,
            value_properties=("value", "revenue", "total") if value is None else value.strings(),
            holders=self._people(top.get("people")),
            source=text,
            session_by=self.session_by,
        )

    # --- stages and signals -------------------------------------------------------------------------------------

    def _stages(self, node: Node) -> tuple[Stage, ...]:
        nodes = node.list()
        if len(nodes) > MAX_STAGES:
            nodes[MAX_STAGES].fail(
                f"{len(nodes)} stages; an ontology has at most {MAX_STAGES}",
                hint="join stages that lead to the same next action",
            )
        if len(nodes) < 2:
            node.fail("an ontology needs at least two stages")
        stages: list[Stage] = []
        for number, child in enumerate(nodes):
            stage = self._stage(number, child)
            if any(stage.name == other.name for other in stages):
                child.fail(f"stage {stage.name!r} is defined twice")
            stages.append(stage)
        return tuple(stages)

    def _stage(self, number: int, node: Node) -> Stage:
        found = node.mapping(_STAGE)
        name = self._name(node.need("name"), "a stage's name")
        certain_node, benchmark = node.get("certain"), node.get("benchmark")
        certain = certain_node is not None and certain_node.boolean()
        signals = self._signals(name, node.need("signals"))
        enter, entry_when = self._entry(number, name, certain, node, sum(signal.cap for signal in signals))
        terminal = self._terminal(name, certain, node)
        end = node.get("reentry") if terminal else node.get("exit")
        exit_when, after, since, by, rest = self._exit(number, "reentry" if terminal else "exit", end)
        description = found.get("description")
        return Stage(
            number,
            name,
            "" if description is None else description.string(),
            enter,
            None if enter is None else enter * (1 - self.margin),
            entry_when,
            exit_when,
            certain,
            after,
            since,
            self._behaviours(node.need("defining")),
            None if benchmark is None else benchmark.number(minimum=0, maximum=1),
            signals,
            terminal,
            by,
            rest,
            self._weakened(name, signals, node.get("weakened_by")),
        )

    def _weakened(self, name: str, signals: tuple[Signal, ...], node: Node | None) -> tuple[tuple[str, float], ...]:
        """Behaviours that speak against a stage, with the share of its signals that each leaves."""
        if node is None:
            return ()
        feeding = {behaviour: signal.name for signal in signals for behaviour in signal.behaviours}
        found: list[tuple[str, float]] = []
        for behaviour, child in node.mapping().items():
            self._known_behaviour(behaviour, child)
            if behaviour in feeding:
                child.fail(
                    f"{behaviour} feeds signal {feeding[behaviour]!r} of stage {name!r} and weakens the stage as well",
                    hint="name it in one of the two places: it speaks for the stage or against it",
                )
            share = child.number()
            if not 0 < share < 1:
                child.fail(
                    f"{behaviour} leaves {share:g} of the signals of stage {name!r}; it must be between 0 and 1",
                    hint="0.8 takes a fifth away; what takes all is said by reset_by of the signals",
                )
            found.append((behaviour, share))
        return tuple(sorted(found))

    def _terminal(self, name: str, certain: bool, node: Node) -> bool:
        said, reentry, end = node.get("terminal"), node.get("reentry"), node.get("exit")
        terminal = said is not None and said.boolean()
        if reentry is not None and not terminal:
            reentry.fail(
                f"stage {name!r} has a reentry but is not terminal",
                hint="say terminal: true, or call it exit: a stage that is not terminal is left in other ways too",
            )
        if said is not None and terminal:
            if end is not None:
                end.fail(
                    f"stage {name!r} is terminal, so it has no exit", hint="say under reentry what leads out of it"
                )
            if not certain:
                said.fail(
                    f"stage {name!r} is terminal but not certain: a guess must put nobody where nothing leads out",
                    hint="add certain: true, and an entry.when",
                )
        return terminal

    def _entry(
        self, number: int, name: str, certain: bool, node: Node, reachable: float
    ) -> tuple[float | None, int | None]:
        entry = node.get("entry")
        if number == 0:
            if entry is not None:
                entry.fail(f"the first stage, {name!r}, is where everybody starts and has no entry condition")
            if certain:
                node.fail(f"the first stage, {name!r}, cannot be certain: it is what remains when nothing else holds")
            return None, None
        if entry is None:
            node.fail(f"stage {name!r} needs an entry", hint="give it entry.intent, entry.when, or both")
        entry.mapping(("intent", "when"))
        intent, when = entry.get("intent"), entry.get("when")
        if intent is None and when is None:
            entry.fail(f"the entry of stage {name!r} needs intent, when, or both")
        if certain and when is None:
            entry.fail(f"stage {name!r} is certain, so its entry needs a condition", hint="add entry.when")
        enter = None
        if intent is not None:
            enter = intent.number()
            if enter <= 0:
                intent.fail("entry.intent must be above 0")
            if enter > reachable:
                intent.fail(
                    f"the signals of stage {name!r} add up to at most {reachable:g}, "
                    f"so an intent of {enter:g} is never reached",
                    hint="raise their caps or lower the intent",
                )
        return enter, None if when is None else self._condition(when)

    def _exit(
        self, number: int, called: str, node: Node | None
    ) -> tuple[int | None, int | None, frozenset[str], frozenset[str], int]:
        """(condition, after, since, by, rest) of an exit or a reentry."""
        if node is None:
            return None, None, frozenset(), frozenset(), 0
        if number == 0:
            node.fail("the first stage is never left for an earlier one, so it has no exit")
        node.mapping(_EXIT)
        when, by, after, since, rest = (node.get(key) for key in _EXIT)
        if when is None and by is None and after is None and since is None:
            node.fail(f"{called} says nothing", hint="give it when, by with since, or after with since")
        if (after is None and by is None) != (since is None):
            node.fail(
                f"{called}.after or {called}.by, and {called}.since, belong together",
                hint="since names the behaviours that start the stage anew",
            )
        if rest is not None and by is None:
            rest.fail(
                f"{called}.rest says how long {called}.by does not count, and there is none",
                hint=f"name under {called}.by what ends the stage, or take the rest out",
            )
        ending, renewing = (frozenset() if some is None else self._behaviours(some) for some in (by, since))
        if by is not None and ending & renewing:
            by.fail(
                f"{', '.join(sorted(ending & renewing))} both ends the stage and starts it anew",
                hint=f"name it under {called}.by or under {called}.since",
            )
        return (
            None if when is None else self._condition(when),
            None if after is None else after.duration(minimum=HOUR),
            renewing,
            ending,
            0 if rest is None else rest.duration(),
        )

    def _signals(self, stage: str, node: Node) -> tuple[Signal, ...]:
        nodes = node.list()
        least, most = SIGNALS_PER_STAGE
        if not least <= len(nodes) <= most:
            node.fail(f"stage {stage!r} has {len(nodes)} signals; a stage has {least} to {most}")
        made: list[Signal] = []
        for child in nodes:
            found = child.mapping(_SIGNAL)
            name = self._name(child.need("name"), "a signal's name")
            if any(name == other.name for other in self.signals):
                child.fail(f"signal {name!r} is defined twice")
            weight = self._positive(child.need("weight"), f"the weight of signal {name!r}")
            cap = self._positive(child.need("cap"), f"the cap of signal {name!r}")
            if cap < weight:
                child.need("cap").fail(f"the cap of signal {name!r} is below its weight, which would never count whole")
            when, description, resets = child.get("when"), found.get("description"), child.get("reset_by")
            signal = Signal(
                number=len(self.signals),
                name=name,
                stage=stage,
                behaviours=self._behaviours(child.need("behaviours")),
                when=None if when is None else self._condition(when),
                weight=weight,
                half_life=child.need("half_life").duration(minimum=_LEAST_HALF_LIFE),
                cap=cap,
                reset_by=frozenset() if resets is None else self._behaviours(resets),
                description="" if description is None else description.string(),
            )
            self.signals.append(signal)
            made.append(signal)
        return tuple(made)

    def _condition(self, node: Node) -> int:
        try:
            made = conditions.compile(node, VOCABULARY)
        except ConfigurationError:
            words = set(re.findall(r"\b[a-z]\w*", str(node.value)))
            if used := words & {"stage", "intent", *STAGE_DERIVED}:
                node.fail(
                    f"{min(used)} is derived from the stage, and a stage condition may not depend on the stage",
                    hint="say it by facts, signals or hysteresis; policies may use it",
                )
            if used := words & set(TIME_FACTS):
                node.fail(
                    f"{min(used)} changes by time alone, so the instant at which {node.value!r} turns is not defined",
                    hint="let a stage lapse through exit.after, or through the half-lives of its signals",
                )
            if used := words & set(UNTIMED):
                node.fail(
                    f"feature {min(used)} changes by time alone, so the instant at which {node.value!r} turns is not "
                    "computed",
                    hint="use a count of a window, such as events_7d, exit.after, or the half-life of a signal",
                )
            raise
        self.compiled.append(made)
        return len(self.compiled) - 1

    # --- rules --------------------------------------------------------------------------------------------------

    def _model(self, node: Node | None) -> ModelRule:
        if node is None:
            return ModelRule(0.1, 7 * DAY, 28 * DAY)
        node.mapping(("margin", "grid", "span"))
        grid = node.need("grid").duration(minimum=HOUR)
        return ModelRule(
            node.need("margin").number(minimum=0, maximum=1), grid, node.need("span").duration(minimum=grid)
        )

    def _hysteresis(self, node: Node | None) -> Hysteresis:
        if node is None:
            return Hysteresis(0.25, 0, 10 * MINUTE)
        node.mapping(("margin", "forward", "back"))
        forward, back = node.get("forward"), node.get("back")
        return Hysteresis(
            node.need("margin").number(minimum=0, maximum=0.95),
            0 if forward is None else forward.duration(),
            10 * MINUTE if back is None else back.duration(),
        )

    def _people(self, node: Node | None) -> dict[str, str]:
        if node is None:
            return {"user_id": "login", "crm_id": "crm_record", "email_sha256": "email", "phone": "phone"}
        return {namespace: kind for kind, child in node.mapping(HOLDERS).items() for namespace in child.strings()}

    # --- small checks -------------------------------------------------------------------------------------------

    def _behaviours(self, node: Node) -> frozenset[str]:
        for behaviour in node.strings():
            self._known_behaviour(behaviour, node)
        return frozenset(node.strings())

    def _known_behaviour(self, behaviour: str, node: Node) -> None:
        if behaviour not in self.behaviours:
            near = difflib.get_close_matches(behaviour, self.behaviours, n=1)
            node.fail(
                f"unknown behaviour {behaviour!r}",
                hint=f"did you mean {near[0]!r}?" if near else "name the events that show it under events.behaviours",
            )

    def _positive(self, node: Node, what: str) -> float:
        number = node.number()
        if number <= 0:
            node.fail(f"{what} is {number:g}, but must be above 0")
        return number

    def _name(self, node: Node, what: str) -> str:
        check_name(node, node.string(), what)
        return node.string()
