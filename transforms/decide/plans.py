"""Plans: sequences with waits, started by a transition and left on another, followed along one journey.

Input: starts and stage moves as the walk meets them. Output: which step is due next, and the story of each run of a
plan. Nothing of it is stored: the runs of a journey are derived from its events whenever it is folded, so a late event
or a merge corrects them, and what was already decided stands in the history. Time domain: event time, microseconds.
Errors: none. State: one ``PlanBook`` a walk.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from contracts.exchange import Trigger
from transforms.decide.rules import Plan


@dataclass(frozen=True, slots=True)
class PlanState:
    """One run of a plan. Open while ``ended_at`` is None; ``ended_by`` is moved, exit, finished."""

    plan: str
    started_at: int
    point: str
    anchor_strand: str
    stage: str
    next_step: int
    due_at: int | None
    ended_at: int | None
    ended_by: str | None


class PlanRun:
    """A run of a plan while it is followed."""

    __slots__ = ("due_at", "ended_at", "ended_by", "next_step", "plan", "start")

    def __init__(self, plan: Plan, start: Trigger) -> None:
        self.plan = plan
        self.start = start
        self.next_step = 0
        self.due_at = start.at + plan.steps[0].wait
        self.ended_at: int | None = None
        self.ended_by: str | None = None

    def advance(self) -> None:
        """The due step is over, whatever came of it; the wait for the next one begins at the instant it was due."""
        self.next_step += 1
        if self.next_step == len(self.plan.steps):
            self.end(self.due_at, "finished")
        else:
            self.due_at += self.plan.steps[self.next_step].wait

    def end(self, at: int, why: str) -> None:
        self.ended_at, self.ended_by = at, why

    def state(self) -> PlanState:
        due = self.due_at if self.ended_at is None else None
        start = self.start
        return PlanState(
            self.plan.name, start.at, start.point, start.anchor_strand, start.stage, self.next_step, due,
            self.ended_at, self.ended_by,
        )  # fmt: skip


class PlanBook:
    """The runs of one journey, in the order of their starts; at most one of a plan is open."""

    def __init__(self) -> None:
        self._changes: list[int] = []
        self._runs: list[PlanRun] = []
        self._last_start: dict[str, int] = {}
        self.open: list[PlanRun] = []

    def learn(self, stage_changes: Sequence[tuple[int, str]]) -> None:
        """(at, new stage) of the moves that come next, ascending: all there are up to the next horizon."""
        self._changes += [at for at, _ in stage_changes]

    def may_start(self, plan: Plan, at: int) -> bool:
        """Whether no run of it is open and its cooldown is over."""
        last = self._last_start.get(plan.name)
        if last is not None and at - last < plan.cooldown:
            return False
        return all(run.plan.name != plan.name for run in self.open)

    def start(self, plan: Plan, trigger: Trigger) -> None:
        run = PlanRun(plan, trigger)
        self._last_start[plan.name] = trigger.at
        self._runs.append(run)
        self.open.append(run)

    def move(self, at: int, stage: str) -> None:
        """The journey enters ``stage``: plans that end with the stage in which they began do so."""
        for run in self.open:
            if run.plan.exit_on_move and run.start.stage != stage:
                run.end(at, "moved")
        self.sweep()

    def sweep(self) -> None:
        """Forget the runs that ended."""
        self.open = [run for run in self.open if run.ended_at is None]

    def forget(self) -> None:
        """Give up the runs that ended, and the moves before those that are open: ``finish`` tells no more of them."""
        self._runs = list(self.open)
        since = min((run.start.at for run in self.open), default=2**62)
        del self._changes[: bisect_right(self._changes, since)]

    def next_due(self, until: int, *, inclusive: bool) -> PlanRun | None:
        """The open run whose step is due first, up to ``until``; runs that the journey left before then end."""
        while self.open:
            run = min(self.open, key=_due)
            if run.due_at > until or (run.due_at == until and not inclusive):
                return None
            moved = self._moved(run, run.due_at)
            if moved is None:
                return run
            run.end(moved, "moved")
            self.sweep()
        return None

    @property
    def next_instant(self) -> int | None:
        """When a step is due next, should nothing happen before."""
        return min((run.due_at for run in self.open), default=None)

    def finish(self, horizon: int) -> tuple[PlanState, ...]:
        """End what the journey left up to the horizon, and tell all runs."""
        for run in self.open:
            moved = self._moved(run, horizon)
            if moved is not None:
                run.end(moved, "moved")
        self.sweep()
        return tuple(run.state() for run in self._runs)

    def _moved(self, run: PlanRun, until: int) -> int | None:
        """When the journey first moved after the run's start, up to ``until``; a move at the start's instant is
        met as a trigger instead."""
        if not run.plan.exit_on_move:
            return None
        index = bisect_right(self._changes, run.start.at)
        return self._changes[index] if index < len(self._changes) and self._changes[index] <= until else None


def _due(run: PlanRun) -> tuple[int, str]:
    return (run.due_at, run.plan.name)
