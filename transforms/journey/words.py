"""Why a stage changed, in words a marketer can check against the ontology file.

Input: a move, the rules, the point it was made at. Output: one sentence. Errors, state: none.
"""

from __future__ import annotations

from contracts.event import DAY, HOUR, MINUTE
from transforms.journey.ontology import ENDED
from transforms.journey.signals import intent, value
from transforms.journey.stages import RULES_SPEAK_CERTAIN, Move, StagePoint, StageRules

_NAMED_SIGNALS = 3


def duration(micros: int) -> str:
    """A length of time with one unit: ``3 d``, ``1.5 h``, ``10 min``."""
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if micros >= unit:
            return f"{micros / unit:.3g} {name}"
    return f"{micros / 1_000_000:.3g} s"


def reason(rules: StageRules, move: Move, point: StagePoint) -> str:
    """Why the move was made."""
    after = rules.stages[move.after].name
    if move.gone is not None:
        landed = _model(rules, move) if move.opinion is not None else _landed(rules, move, point)
        said = f"ontology {rules.ontology.version} has no stage {move.gone}; {landed}"
    elif move.opinion is not None:
        said = _model(rules, move)
    elif move.before is None and not move.after:
        said = f"the journey begins in {after}"
    elif move.before is not None and move.after < move.before:
        said = f"{_left(rules, move.before, point, move.at)}; {_landed(rules, move, point)}"
    else:
        said = _entered(rules, move, point)
    return f"{said}; the least time in the stage before was over" if move.waited else said


def _model(rules: StageRules, move: Move) -> str:
    opinion = move.opinion
    if opinion is None:
        return ""
    top, second = rules.stages[opinion.top].name, rules.stages[opinion.second].name
    return (
        f"model {opinion.version} gives {top} {opinion.probabilities[opinion.top]:.2f} "
        f"and {second} {opinion.probabilities[opinion.second]:.2f}"
    )


def _entered(rules: StageRules, move: Move, point: StagePoint) -> str:
    stage = rules.stages[move.after]
    parts: list[str] = []
    if move.speaker == RULES_SPEAK_CERTAIN:
        parts.append("certain")
    if stage.enter is not None:
        score = intent(rules.scores[move.after], point.signals, move.at)
        parts.append(f"intent {score:.2f} reaches {stage.enter:g} ({_signals(rules, move.after, point, move.at)})")
    if stage.entry_when is not None:
        parts.append(rules.ontology.conditions[stage.entry_when].text)
    return f"{stage.name}: {', '.join(parts)}"


def _left(rules: StageRules, number: int, point: StagePoint, at: int) -> str:
    stage = rules.stages[number]
    conditions = rules.ontology.conditions
    if stage.exit_when is not None and point.held[stage.exit_when]:
        return f"{stage.name} ends: {conditions[stage.exit_when].text}"
    renewed = point.renewed[number]
    if renewed == ENDED:
        return f"{stage.name} ends: {', '.join(sorted(stage.by))} came"
    if stage.after is not None and renewed is not None and at >= renewed + stage.after:
        return f"{stage.name} lapses: {duration(stage.after)} without {', '.join(sorted(stage.since))}"
    if stage.keep is not None:
        score = intent(rules.scores[number], point.signals, at)
        if score < stage.keep:
            return f"intent for {stage.name} is down to {score:.2f}, below {stage.keep:.3g}"
    if stage.exit_when is None and stage.entry_when is not None and not point.held[stage.entry_when]:
        return f"{stage.name} ends: no longer {conditions[stage.entry_when].text}"
    return f"nobody speaks for {stage.name} any more"


def _landed(rules: StageRules, move: Move, point: StagePoint) -> str:
    if not move.after:
        return f"{rules.stages[0].name} is what remains"
    return _entered(rules, move, point)


def _signals(rules: StageRules, number: int, point: StagePoint, at: int) -> str:
    worth = sorted(
        (
            (-value(point.signals[signal.number], signal.half_life, signal.cap, at), signal.name)
            for signal in rules.stages[number].signals
            if point.signals[signal.number].times
        ),
    )
    return ", ".join(f"{name} {-negative:.2f}" for negative, name in worth[:_NAMED_SIGNALS])
