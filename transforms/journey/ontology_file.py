"""Reading and checking an ontology file: every fault with its line, before anything runs.

Input: YAML (``contracts.documents``). Output: ``Ontology``. Errors: ``ConfigurationError`` with file and line, and the
nearest known word for a misspelt one. State: none.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

from contracts import documents
from contracts.documents import Node
from contracts.errors import ConfigurationError
from contracts.event import DAY, HOUR, MINUTE
from transforms import conditions
from transforms.journey.behaviours import OUTCOME_KINDS, BehaviourTable, fold_name
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

_NAME = re.compile(r"^[a-z][a-z0-9_]{0,39}$")
_TOP = ("name", "description", "sessions", "people", "conversion", "model", "hysteresis", "stages", "events")
_EVENTS = ("behaviours", "pages", "neutral", "records", "receipts", "revokes", "logged_actions")
_STAGE = ("name", "description", "entry", "exit", "certain", "defining", "benchmark", "signals")
_SIGNAL = ("name", "description", "behaviours", "when", "weight", "half_life", "cap", "reset_by")
_LEAST_HALF_LIFE = MINUTE

VOCABULARY = conditions.Vocabulary({name: kind for name, (kind, _) in EVENT_FACTS.items()})
"""What conditions of an ontology may use: the facts that only an event can change."""


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
        table = self._table(self.root.need("events"))
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
        exit_when, after, since = self._exit(number, found.get("exit"))
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
        )

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

    def _exit(self, number: int, node: Node | None) -> tuple[int | None, int | None, frozenset[str]]:
        if node is None or node.value is None:
            return None, None, frozenset()
        if number == 0:
            node.fail("the first stage is never left for an earlier one, so it has no exit")
        node.mapping(("when", "after", "since"))
        when, after, since = node.get("when"), node.get("after"), node.get("since")
        if (after is None) != (since is None):
            node.fail(
                "exit.after and exit.since belong together", hint="since names the behaviours that renew the stage"
            )
        return (
            None if when is None else self._condition(when),
            None if after is None else after.duration(minimum=HOUR),
            frozenset() if since is None else self._behaviours(since),
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
            used = next((name for name in TIME_FACTS if re.search(rf"\b{name}\b", str(node.value))), None)
            if used is None:
                raise
            node.fail(
                f"{used} changes by time alone, so the instant at which {node.value!r} turns is not defined",
                hint="let a stage lapse through exit.after, or through the half-lives of its signals",
            )
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

    # --- events -------------------------------------------------------------------------------------------------

    def _table(self, node: Node) -> BehaviourTable:
        node.mapping(_EVENTS)
        names: dict[str, tuple[str, ...]] = {}
        for behaviour, child in node.need("behaviours").items():
            self._check_name(child, behaviour, "a behaviour")
            for name in self._folded(child):
                if behaviour in names.get(name, ()):
                    child.fail(f"event {name!r} is listed twice under {behaviour!r}")
                names[name] = (*names.get(name, ()), behaviour)
        receipts = node.get("receipts")
        revokes = node.get("revokes")
        page_names, page_default, page_paths = self._pages(node.get("pages"))
        return BehaviourTable(
            names=names,
            page_names=page_names,
            page_default=page_default,
            page_paths=page_paths,
            neutral=self._folded_at(node, "neutral"),
            records=self._folded_at(node, "records"),
            receipts={}
            if receipts is None
            else {
                name: kind for kind, child in receipts.mapping(OUTCOME_KINDS).items() for name in self._folded(child)
            },
            revokes={} if revokes is None else {fold_name(name): child.strings() for name, child in revokes.items()},
            logged_actions=self._folded_at(node, "logged_actions"),
        )

    def _pages(
        self, node: Node | None
    ) -> tuple[frozenset[str], tuple[str, ...], tuple[tuple[str, tuple[str, ...]], ...]]:
        if node is None:
            return frozenset(), (), ()
        node.mapping(("events", "default", "paths"))
        default, paths = node.get("default"), node.get("paths")
        if default is not None:
            for behaviour in default.strings():
                self._check_name(default, behaviour, "a behaviour")
        table: list[tuple[str, tuple[str, ...]]] = []
        if paths is not None:
            for behaviour, child in paths.items():
                self._check_name(child, behaviour, "a behaviour")
                table.append((behaviour, child.strings()))
        return (
            frozenset(self._folded(node.need("events"))),
            () if default is None else default.strings(),
            tuple(table),
        )

    def _folded(self, node: Node) -> Iterable[str]:
        return [fold_name(name) for name in node.strings()]

    def _folded_at(self, node: Node, key: str) -> frozenset[str]:
        child = node.get(key)
        return frozenset() if child is None else frozenset(self._folded(child))

    # --- small checks -------------------------------------------------------------------------------------------

    def _behaviours(self, node: Node) -> frozenset[str]:
        for behaviour in node.strings():
            if behaviour not in self.behaviours:
                near = difflib.get_close_matches(behaviour, self.behaviours, n=1)
                node.fail(
                    f"unknown behaviour {behaviour!r}",
                    hint=f"did you mean {near[0]!r}?"
                    if near
                    else "name the events that show it under events.behaviours",
                )
        return frozenset(node.strings())

    def _positive(self, node: Node, what: str) -> float:
        number = node.number()
        if number <= 0:
            node.fail(f"{what} is {number:g}, but must be above 0")
        return number

    def _name(self, node: Node, what: str) -> str:
        self._check_name(node, node.string(), what)
        return node.string()

    def _check_name(self, node: Node, name: str, what: str) -> None:
        if not _NAME.match(name):
            _bad_name(node, name, what)


def _bad_name(node: Node, name: str, what: str) -> NoReturn:
    node.fail(f"{what} is {name!r}", hint="use lower-case letters, digits and underscores, starting with a letter")
