"""When what happened: the journal's entries as spans on one axis that never runs backwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from drkit.runs.book.plan import Plan, PlannedStep
from drkit.runs.evidence.reading import Output
from drkit.runs.evidence.values import Gap, PhaseLine, Segment, StepLine
from drkit.runs.records import JSON, Entry, StepState

PHASES = ("dns", "deploy", "restore", "verify")
"""The documented procedure's phases, in its order; `other` is beside them, without a budget."""

# From here on no step of the plan goes on; one that has no result yet will have none.
_WORK_IS_OVER = frozenset({"EVIDENCE", "TEARDOWN", "ROLLING_BACK", "NEEDS_OPERATOR"})

Payload = Mapping[str, JSON]


def clock_axis(entries: Sequence[Entry]) -> list[float]:
    """Seconds since the first entry, one per entry, never falling.

    The steady clock counts. Where it fell (the machine was restarted, so the clock began anew) the
    wall clock bridges the gap, and where that fell too, the gap counts as nothing.
    """
    axis: list[float] = []
    for index, entry in enumerate(entries):
        if index == 0:
            axis.append(0.0)
            continue
        former = entries[index - 1]
        step_s = entry.elapsed_s - former.elapsed_s
        if step_s < 0:
            step_s = max(0.0, (entry.at - former.at).total_seconds())
        axis.append(axis[-1] + step_s)
    return axis


def end_of(entries: Sequence[Entry], axis: Sequence[float], ended: bool, now: datetime) -> float:
    """Where the axis ends: at the last entry, or, while the run is open, at `now`."""
    if not entries:
        return 0.0
    if ended:
        return axis[-1]
    return axis[-1] + max(0.0, (now - entries[-1].at).total_seconds())


def union_s(spans: Iterable[tuple[float, float]]) -> float:
    """Seconds that at least one of the spans covers."""
    covered, until = 0.0, float("-inf")
    for begin, end in sorted(spans):
        covered += max(0.0, end - max(begin, until))
        until = max(until, end)
    return covered


def step_lines(
    plan: Plan, entries: Sequence[Entry], axis: Sequence[float], end_s: float, *, ended: bool
) -> tuple[StepLine, ...]:
    """Every step of the plan in its order, then those the engine added, by their first entry."""
    by_step: dict[str, list[tuple[Entry, float]]] = {step.id: [] for step in plan.steps}
    for entry, at_s in zip(entries, axis, strict=True):
        if entry.step is not None:
            by_step.setdefault(entry.step, []).append((entry, at_s))
        elif entry.kind == "state" and entry.payload.get("to") in _WORK_IS_OVER:
            for moments in by_step.values():
                moments.append((entry, at_s))
        elif entry.kind == "replanned":
            for name in Output(entry.payload).texts("reset"):
                by_step.setdefault(name, []).append((entry, at_s))
    planned = {step.id: step for step in plan.steps}
    return tuple(
        _step_line(name, planned.get(name), moments, end_s, ended=ended)
        for name, moments in by_step.items()
    )


def _step_line(
    name: str,
    planned: PlannedStep | None,
    moments: Sequence[tuple[Entry, float]],
    end_s: float,
    *,
    ended: bool,
) -> StepLine:
    story = _Story()
    for entry, at_s in moments:
        story.tell(entry, at_s)
    story.close(end_s, StepState.EFFECT_UNKNOWN if ended else StepState.INTENT)
    return StepLine(
        id=name,
        phase=planned.phase if planned else "other",
        action=planned.action if planned else name,
        state=story.state,
        budget_min=planned.budget_min if planned else None,
        segments=tuple(story.segments),
        undo=tuple(story.undo),
        began_at=story.began_at,
        ended_at=story.ended_at,
        done_s=story.done_s,
        proof=text(story.done.get("proof")),
        adopted=story.done.get("adopted") is True,
        error=text(story.failed.get("error")),
        hint=text(story.failed.get("hint")),
        undo_proof=text(story.undone.get("proof")),
        undo_error=text(story.undo_failed.get("undo_failed")),
        skipped_why=text(story.skipped.get("reason")),
        skipped_by=text(story.skipped.get("who")),
    )


class _Story:
    """What the entries of one step say, told one after the other."""

    def __init__(self) -> None:
        self.state = StepState.PENDING
        self.segments: list[Segment] = []
        self.undo: list[Segment] = []
        self.began_at: datetime | None = None
        self.ended_at: datetime | None = None
        self.done_s: float | None = None
        self.done: Payload = {}
        self.failed: Payload = {}
        self.skipped: Payload = {}
        self.undo_failed: Payload = {}
        self.undone: Payload = {}
        self._open: tuple[int, float, bool] | None = None

    def tell(self, entry: Entry, at_s: float) -> None:
        match entry.kind:
            case "intent":
                self.close(at_s, StepState.EFFECT_UNKNOWN)
                undo = entry.payload.get("undo") is True
                self._open = (entry.attempt, at_s, undo)
                self.state = StepState.EFFECT_UNKNOWN if undo else StepState.INTENT
                if not undo:
                    self.began_at = self.began_at or entry.at
                    self.ended_at = None
            case "done":
                self._result(entry, at_s, StepState.DONE)
                self.done, self.failed, self.done_s = entry.payload, {}, at_s
            case "failed":
                self._result(entry, at_s, StepState.FAILED)
                self.failed = entry.payload
            case "skipped":
                self._result(entry, at_s, StepState.SKIPPED)
                self.skipped, self.failed = entry.payload, {}
            case "replanned":
                self.close(at_s, StepState.EFFECT_UNKNOWN)
                self.state, self.done_s, self.ended_at = StepState.PENDING, None, None
                self.done, self.failed = {}, {}
            case "undone":
                self.close(at_s, StepState.UNDONE)
                self.state, self.undo_failed, self.undone = StepState.UNDONE, {}, entry.payload
            case "state":
                self.close(at_s, StepState.EFFECT_UNKNOWN)
            case "note" if "effect_unknown" in entry.payload:
                self.close(at_s, StepState.EFFECT_UNKNOWN)
            case "note" if "undo_failed" in entry.payload:
                self.close(at_s, StepState.FAILED)
                self.undo_failed = entry.payload
            case _:
                pass

    def close(self, at_s: float, state: StepState) -> None:
        """Ends the open segment, if there is one, at `at_s` with what it led to."""
        if self._open is None:
            return
        attempt, begin_s, undo = self._open
        self._open = None
        (self.undo if undo else self.segments).append(Segment(attempt, begin_s, at_s, state))
        if state in (StepState.EFFECT_UNKNOWN, StepState.INTENT):
            self.state = state

    def _result(self, entry: Entry, at_s: float, state: StepState) -> None:
        self.close(at_s, state)
        self.state = state
        self.ended_at = entry.at


def text(value: object) -> str:
    """A payload's text; nothing for what is absent."""
    return "" if value is None else str(value)


def phase_lines(steps: Sequence[StepLine]) -> tuple[PhaseLine, ...]:
    """The phases that have steps, each with the sum of its steps' budgets; `other` has none."""
    lines = []
    for phase in (*PHASES, "other"):
        members = [step for step in steps if step.phase == phase]
        if not members:
            continue
        budgets = [step.budget_min for step in members if step.budget_min is not None]
        spans = [
            (step.segments[0].begin_s, step.segments[-1].end_s) for step in members if step.segments
        ]
        lines.append(
            PhaseLine(
                name=phase,
                budget_s=sum(budgets) * 60 if budgets and phase != "other" else None,
                spent_s=union_s(spans),
                steps=tuple(step.id for step in members),
            )
        )
    return tuple(lines)


def gaps(entries: Sequence[Entry], axis: Sequence[float]) -> tuple[Gap, ...]:
    """From the last entry before each `resumed` to it: nobody worked on the run."""
    return tuple(
        Gap(axis[index - 1], axis[index])
        for index, entry in enumerate(entries)
        if entry.kind == "resumed" and index and axis[index] > axis[index - 1]
    )
