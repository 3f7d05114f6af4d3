"""Policies: what may be done, when, through which channel, and how often; read from files and checked before a run.

Input: YAML files, the vocabulary of conditions, the ontology's stage names. Output: a ``PolicySet``, immutable and
picklable. Durations in microseconds. Errors: ``ConfigurationError`` with file and line, and the nearest known word
where one is misspelt. State: none.

Several files make one set: candidates, caps, suppressions and plans add up; slots, channels, consent defaults and the
holdout are shared by all of them, so that a second file need not repeat them.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from contracts import documents
from contracts.documents import Node
from contracts.errors import ConfigurationError
from transforms import conditions
from transforms.conditions import Condition, Vocabulary
from transforms.decide.rules import (
    KINDS,
    NOTHING,
    OUTCOME_KINDS,
    PURPOSES,
    CandidateRule,
    CapRule,
    Plan,
    PlanStep,
    PolicySet,
    SuppressionRule,
    policy_vocabulary,
)

__all__ = ["PolicySet", "load_policies", "policy_vocabulary", "read_policies"]

ALL = "all"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
ROOT_KEYS = (
    "name",
    "description",
    "slots",
    "channels",
    "consent",
    "holdout",
    "caps",
    "suppress",
    "candidates",
    "plans",
)
STEP_KEYS = ("name", "description", "wait", "when", "action", "channel", "purpose", "priority")
CANDIDATE_KEYS = (*(key for key in STEP_KEYS if key != "wait"), "slot", "on", "stages", "from", "cooldown")
PLAN_KEYS = ("name", "description", "slot", "start", "exit", "cooldown", "steps")
_COMPARED = re.compile(r"""(?<![\w.])(?:stage|from_stage)\s*[!=]=\s*(["'])(.*?)\1""")
_LISTED = re.compile(r"""(?<![\w.])(?:stage|from_stage)\s+in\s+\[([^\]]*)\]""")
_CONSENTED = re.compile(r"""(?<![\w.])consent(?:\[\s*(["'])(.*?)\1\s*\]|\.(\w+))""")
_QUOTED = re.compile(r"""(["'])(.*?)\1""")


def load_policies(
    paths: Sequence[Path | str],
    vocabulary: Vocabulary,
    stages: Sequence[str],
    channels: Sequence[str] = (),
) -> PolicySet:
    """Read policy files.

    Args:
        paths: one or more files; their order does not matter.
        vocabulary: from ``policy_vocabulary``.
        stages: the ontology's stages in order.
        channels: the channels that are set up; empty: any channel that a policy declares.

    Raises:
        ConfigurationError: a file is unreadable or says something that cannot be.
    """
    return read_policies([documents.load(path) for path in paths], vocabulary, stages, channels)


def read_policies(
    roots: Sequence[Node], vocabulary: Vocabulary, stages: Sequence[str], channels: Sequence[str] = ()
) -> PolicySet:
    """Like ``load_policies``, from parsed documents."""
    if not roots:
        raise ConfigurationError("policies", None, "there is no policy file", hint="name at least one")
    for root in roots:
        root.mapping(ROOT_KEYS)
    named = sorted(((_name(root.need("name")), root) for root in roots), key=_by_name)
    for (name, _), (again, root) in itertools.pairwise(named):
        if name == again:
            root.need("name").fail(f"two policy files are named {name!r}")
    return _Reader(vocabulary, tuple(stages), tuple(channels)).read(named)


def _by_name(item: tuple[str, Node]) -> str:
    return item[0]


def _name(node: Node) -> str:
    text = node.string()
    if not _NAME.fullmatch(text):
        node.fail(f"{node.where} is {text!r}; a name has small letters, digits and _ and begins with a letter")
    return text


def _unknown(node: Node, what: str, text: str, known: Iterable[str]) -> NoReturn:
    options = sorted(known)
    near = difflib.get_close_matches(text, options, n=1)
    node.fail(
        f"{node.where}: {what} {text!r} is unknown",
        hint=f"did you mean {near[0]!r}?" if near else f"known: {', '.join(options)}",
    )


class _Reader:
    """One reading: the words that are allowed, and the names already taken."""

    def __init__(self, vocabulary: Vocabulary, stages: tuple[str, ...], configured: tuple[str, ...]) -> None:
        self.vocabulary = vocabulary
        self.stages = stages
        self.configured = configured
        self.slots: list[str] = []
        self.channels: list[str] = []
        self.taken: dict[str, str] = {NOTHING: "a word of the language"}

    def read(self, named: Sequence[tuple[str, Node]]) -> PolicySet:
        granted: dict[str, bool] = {}
        holdout: tuple[float, str] | None = None
        for name, root in named:
            for item in _each(root, "slots"):
                if (slot := _name(item)) not in self.slots:
                    self.slots.append(slot)
            for item in _each(root, "channels"):
                self._declare_channel(item)
            if consent := root.get("consent"):
                for purpose, item in consent.mapping(PURPOSES).items():
                    says = item.choice(("granted", "denied")) == "granted"
                    if granted.setdefault(purpose, says) != says:
                        item.fail(f"another policy file says the opposite of consent for {purpose!r}")
            if node := root.get("holdout"):
                if holdout is not None:
                    node.fail("another policy file has a holdout already")
                node.mapping(("share", "salt"))
                salt = node.get("salt")
                holdout = (node.need("share").number(minimum=0, maximum=1), salt.string() if salt else name)
        self.slots = self.slots or ["main"]
        caps: list[CapRule] = []
        suppressions: list[SuppressionRule] = []
        candidates: list[CandidateRule] = []
        plans: list[Plan] = []
        for _, root in named:
            caps += [self._cap(item) for item in _each(root, "caps")]
            suppressions += [self._suppression(item) for item in _each(root, "suppress")]
            candidates += [self._candidate(item) for item in _each(root, "candidates")]
            plans += [self._plan(item) for item in _each(root, "plans")]
        if not candidates and not plans:
            named[0][1].fail("a policy needs candidates or plans")
        share, salt_text = holdout or (0.0, "")
        return PolicySet(
            version=_version(named),
            vocabulary=self.vocabulary,
            slots=tuple(self.slots),
            candidates=tuple(candidates),
            caps=tuple(caps),
            suppressions=tuple(suppressions),
            plans=tuple(plans),
            holdout=share,
            holdout_salt=salt_text,
            granted=frozenset(purpose for purpose, says in granted.items() if says),
        )

    # --- words ----------------------------------------------------------------------------------------------

    def _declare_channel(self, node: Node) -> None:
        channel = _name(node)
        if self.configured and channel not in self.configured:
            _unknown(node, "channel", channel, self.configured)
        if channel not in self.channels:
            self.channels.append(channel)

    def _take(self, node: Node, name: str) -> str:
        if name in self.taken:
            node.fail(f"{node.where}: the name {name!r} is taken by {self.taken[name]}")
        self.taken[name] = f"{node.path}:{node.line}"
        return name

    def _channel(self, node: Node) -> str:
        channel = node.string()
        if channel not in self.channels:
            _unknown(node, "channel", channel, self.channels)
        return channel

    def _channel_set(self, node: Node | None) -> frozenset[str]:
        if node is None or node.value == ALL:
            return frozenset(self.channels)
        items = node.list() if isinstance(node.value, list) else [node]
        return frozenset(self._channel(item) for item in items)

    def _stages(self, node: Node | None) -> tuple[str, ...]:
        if node is None or node.value == ALL:
            return ()
        items = node.list() if isinstance(node.value, list) else [node]
        return tuple(item.choice(self.stages) for item in items)

    def _slot(self, node: Node | None) -> str:
        return self.slots[0] if node is None else node.choice(self.slots)

    def _purpose(self, node: Node) -> str | None:
        purpose = node.choice((*PURPOSES, "none"))
        return None if purpose == "none" else purpose

    def _when(self, node: Node | None) -> Condition | None:
        if node is None:
            return None
        condition = conditions.compile(node, self.vocabulary)
        stages = [match[2] for match in _COMPARED.finditer(condition.text)]
        for match in _LISTED.finditer(condition.text):
            stages += [quoted[2] for quoted in _QUOTED.finditer(match[1])]
        for stage in stages:
            if stage and stage not in self.stages:
                _unknown(node, "stage", stage, self.stages)
        for match in _CONSENTED.finditer(condition.text):
            if (purpose := match[2] or match[3]) not in PURPOSES:
                _unknown(node, "purpose", purpose, PURPOSES)
        return condition

    # --- rules ----------------------------------------------------------------------------------------------

    def _cap(self, node: Node) -> CapRule:
        node.mapping(("name", "max", "per", "channels"))
        return CapRule(
            name=self._take(node, _name(node.need("name"))),
            limit=node.need("max").integer(minimum=0),
            per=node.need("per").duration(minimum=1),
            channels=self._channel_set(node.get("channels")),
        )

    def _suppression(self, node: Node) -> SuppressionRule:
        node.mapping(("name", "after", "for", "channels"))
        after = node.need("after").choice(OUTCOME_KINDS)
        name = node.get("name")
        return SuppressionRule(
            name=self._take(node, _name(name) if name else f"after_{after}"),
            after=after,
            duration=node.need("for").duration(minimum=1),
            channels=self._channel_set(node.get("channels")),
        )

    def _candidate(self, node: Node) -> CandidateRule:
        node.mapping(CANDIDATE_KEYS)
        kinds = node.get("on")
        items = [] if kinds is None else kinds.list() if isinstance(kinds.value, list) else [kinds]
        priority, cooldown = node.get("priority"), node.get("cooldown")
        return CandidateRule(
            name=self._take(node, _name(node.need("name"))),
            slot=self._slot(node.get("slot")),
            on=tuple(item.choice(KINDS) for item in items) or ("transition", "session"),
            stages=self._stages(node.get("stages")),
            from_stages=self._stages(node.get("from")),
            when=self._when(node.get("when")),
            action=node.need("action").string(),
            channel=self._channel(node.need("channel")),
            purpose=self._purpose(node.need("purpose")),
            priority=priority.number() if priority else 0.0,
            cooldown=cooldown.duration() if cooldown else 0,
        )

    def _plan(self, node: Node) -> Plan:
        node.mapping(PLAN_KEYS)
        name = self._take(node, _name(node.need("name")))
        slot = self._slot(node.get("slot"))
        start = node.need("start")
        start.mapping(("to", "from", "when"))
        leave, cooldown = node.get("exit"), node.get("cooldown")
        on_move: Node | None = None
        if leave is not None:
            leave.mapping(("stage_moves", "when"))
            on_move = leave.get("stage_moves")
        steps = node.need("steps")
        if not steps.list():
            steps.fail(f"plan {name!r} needs at least one step")
        return Plan(
            name=name,
            slot=slot,
            start_stages=self._stages(start.need("to")) or self.stages,
            start_from=self._stages(start.get("from")),
            start_when=self._when(start.get("when")),
            exit_on_move=on_move.boolean() if on_move else True,
            exit_when=self._when(leave.get("when")) if leave else None,
            cooldown=cooldown.duration() if cooldown else 0,
            steps=tuple(self._step(item, name, slot, index) for index, item in enumerate(steps.list())),
        )

    def _step(self, node: Node, plan: str, slot: str, index: int) -> PlanStep:
        node.mapping(STEP_KEYS)
        name, priority = node.get("name"), node.get("priority")
        rule = CandidateRule(
            name=self._take(node, f"{plan}.{_name(name) if name else f'step_{index}'}"),
            slot=slot,
            on=("step",),
            stages=(),
            from_stages=(),
            when=self._when(node.get("when")),
            action=node.need("action").string(),
            channel=self._channel(node.need("channel")),
            purpose=self._purpose(node.need("purpose")),
            priority=priority.number() if priority else 0.0,
            cooldown=0,
        )
        return PlanStep(node.need("wait").duration(), rule)


def _each(root: Node, key: str) -> list[Node]:
    node = root.get(key)
    return [] if node is None else node.list()


def _version(named: Sequence[tuple[str, Node]]) -> str:
    content = json.dumps([root.plain() for _, root in named], sort_keys=True, separators=(",", ":"))
    digest = hashlib.blake2b(content.encode(), digest_size=6).hexdigest()
    return f"{'+'.join(name for name, _ in named)}@{digest}"
