"""The state machines of runs and steps, as the tables they are.

A run moves by events, a step by the entries of the journal; both tables are all there is. An event
that a state has no row for is a bug, except a milestone: a run that was resumed may pass it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from drkit.runs.records import JSON, Effect, Entry, RunState, StepState


class RunEvent(Enum):
    START = "the first process took it up"
    CHECKED = "preflight passed"
    PROVED = "verify passed"
    MOVE = "cutover begins"
    WATCH = "observe begins"
    COMMIT = "every step is done (failover)"
    ASK = "an operator must decide"
    RESUME = "taken up again"
    ROLL_BACK = "what began is to be undone"
    UNDONE = "all of it was undone, and proved"
    STUCK = "something could not be undone"
    REPORT = "every step is done or has failed (drill)"
    TEAR_DOWN = "the report is written (drill)"
    END = "nothing is left over (drill)"
    GIVE_WAY = "nothing is left over of a drill that a failover interrupted"


_S, _E = RunState, RunEvent

RUN_TABLE: Mapping[tuple[RunState, RunEvent], RunState] = {
    (_S.PLANNED, _E.START): _S.PREFLIGHT,
    (_S.PLANNED, _E.ASK): _S.NEEDS_OPERATOR,
    (_S.PLANNED, _E.ROLL_BACK): _S.ROLLING_BACK,
    (_S.PLANNED, _E.REPORT): _S.EVIDENCE,
    (_S.PREFLIGHT, _E.CHECKED): _S.RUNNING,
    (_S.PREFLIGHT, _E.ASK): _S.NEEDS_OPERATOR,
    (_S.PREFLIGHT, _E.ROLL_BACK): _S.ROLLING_BACK,
    (_S.PREFLIGHT, _E.REPORT): _S.EVIDENCE,
    (_S.RUNNING, _E.PROVED): _S.VERIFIED,
    (_S.RUNNING, _E.MOVE): _S.CUTOVER,
    (_S.RUNNING, _E.WATCH): _S.OBSERVING,
    (_S.RUNNING, _E.COMMIT): _S.COMMITTED,
    (_S.RUNNING, _E.ASK): _S.NEEDS_OPERATOR,
    (_S.RUNNING, _E.ROLL_BACK): _S.ROLLING_BACK,
    (_S.RUNNING, _E.REPORT): _S.EVIDENCE,
    (_S.VERIFIED, _E.MOVE): _S.CUTOVER,
    (_S.VERIFIED, _E.WATCH): _S.OBSERVING,
    (_S.VERIFIED, _E.COMMIT): _S.COMMITTED,
    (_S.VERIFIED, _E.ASK): _S.NEEDS_OPERATOR,
    (_S.VERIFIED, _E.ROLL_BACK): _S.ROLLING_BACK,
    (_S.VERIFIED, _E.REPORT): _S.EVIDENCE,
    (_S.CUTOVER, _E.WATCH): _S.OBSERVING,
    (_S.CUTOVER, _E.COMMIT): _S.COMMITTED,
    (_S.CUTOVER, _E.ASK): _S.NEEDS_OPERATOR,
    (_S.CUTOVER, _E.ROLL_BACK): _S.ROLLING_BACK,
    (_S.CUTOVER, _E.REPORT): _S.EVIDENCE,
    (_S.OBSERVING, _E.COMMIT): _S.COMMITTED,
    (_S.OBSERVING, _E.ASK): _S.NEEDS_OPERATOR,
    (_S.OBSERVING, _E.ROLL_BACK): _S.ROLLING_BACK,
    (_S.OBSERVING, _E.REPORT): _S.EVIDENCE,
    (_S.NEEDS_OPERATOR, _E.ASK): _S.NEEDS_OPERATOR,
    (_S.NEEDS_OPERATOR, _E.RESUME): _S.RUNNING,
    (_S.NEEDS_OPERATOR, _E.ROLL_BACK): _S.ROLLING_BACK,
    (_S.NEEDS_OPERATOR, _E.REPORT): _S.EVIDENCE,
    (_S.ROLLING_BACK, _E.ROLL_BACK): _S.ROLLING_BACK,
    (_S.ROLLING_BACK, _E.UNDONE): _S.ROLLED_BACK,
    (_S.ROLLING_BACK, _E.STUCK): _S.ROLLBACK_FAILED,
    (_S.ROLLBACK_FAILED, _E.ROLL_BACK): _S.ROLLING_BACK,
    (_S.EVIDENCE, _E.REPORT): _S.EVIDENCE,
    (_S.EVIDENCE, _E.TEAR_DOWN): _S.TEARDOWN,
    (_S.TEARDOWN, _E.TEAR_DOWN): _S.TEARDOWN,
    (_S.TEARDOWN, _E.ASK): _S.NEEDS_OPERATOR,
    (_S.TEARDOWN, _E.END): _S.DONE,
    (_S.TEARDOWN, _E.GIVE_WAY): _S.INTERRUPTED,
}

AFTER: Mapping[RunState, frozenset[RunState]] = {
    state: frozenset(after for (before, _), after in RUN_TABLE.items() if before is state)
    for state in RunState
}

# Passed once on the way; a run that was resumed, or that skips the step, stays where it is.
MILESTONES = frozenset({_E.CHECKED, _E.PROVED, _E.MOVE, _E.WATCH})

# What a step's action says about the run, when its intent or its result is written.
MILESTONE_OF: Mapping[tuple[str, str], RunEvent] = {
    ("preflight", "done"): _E.CHECKED,
    ("verify", "done"): _E.PROVED,
    ("cutover", "intent"): _E.MOVE,
    ("observe", "intent"): _E.WATCH,
}


def run_after(state: RunState, event: RunEvent) -> RunState:
    """The run's state after `event`. ValueError: the table has no such row, which is a bug."""
    if (after := RUN_TABLE.get((state, event))) is not None:
        return after
    if event in MILESTONES:
        return state
    raise ValueError(f"a run in {state.name} knows no {event.name}")


_P = StepState

# "undo" is an intent with {"undo": true}; "unknown" a note that the result was not waited for;
# "reset" is meant for the steps that a replanned run begins anew.
STEP_TABLE: Mapping[tuple[StepState, str], StepState] = {
    (_P.PENDING, "intent"): _P.INTENT,
    (_P.PENDING, "undo"): _P.EFFECT_UNKNOWN,  # it was to begin anew, and what it left is undone
    (_P.PENDING, "skipped"): _P.SKIPPED,
    (_P.INTENT, "done"): _P.DONE,
    (_P.INTENT, "failed"): _P.FAILED,
    (_P.INTENT, "unknown"): _P.EFFECT_UNKNOWN,
    (_P.INTENT, "resumed"): _P.EFFECT_UNKNOWN,
    (_P.INTENT, "undo"): _P.EFFECT_UNKNOWN,
    (_P.EFFECT_UNKNOWN, "intent"): _P.INTENT,
    (_P.EFFECT_UNKNOWN, "done"): _P.DONE,
    (_P.EFFECT_UNKNOWN, "failed"): _P.FAILED,
    (_P.EFFECT_UNKNOWN, "resumed"): _P.EFFECT_UNKNOWN,
    (_P.EFFECT_UNKNOWN, "undo"): _P.EFFECT_UNKNOWN,
    (_P.EFFECT_UNKNOWN, "undone"): _P.UNDONE,
    (_P.EFFECT_UNKNOWN, "skipped"): _P.SKIPPED,
    (_P.FAILED, "intent"): _P.INTENT,
    (_P.FAILED, "skipped"): _P.SKIPPED,
    (_P.FAILED, "resumed"): _P.FAILED,
    (_P.FAILED, "undo"): _P.EFFECT_UNKNOWN,
    (_P.DONE, "resumed"): _P.DONE,
    (_P.DONE, "undo"): _P.EFFECT_UNKNOWN,
    (_P.PENDING, "resumed"): _P.PENDING,
    (_P.SKIPPED, "resumed"): _P.SKIPPED,
    (_P.UNDONE, "resumed"): _P.UNDONE,
    (_P.PENDING, "reset"): _P.PENDING,
    (_P.EFFECT_UNKNOWN, "reset"): _P.PENDING,
    (_P.DONE, "reset"): _P.PENDING,
    (_P.FAILED, "reset"): _P.PENDING,
    (_P.SKIPPED, "reset"): _P.PENDING,
    (_P.UNDONE, "reset"): _P.PENDING,
}


@dataclass(frozen=True, slots=True)
class StepProgress:
    """Where a step stands. `attempt`: the number of the last one begun; 0 if none was.

    `approved`: an operator let it begin. `unanswered`: its last request got no answer, and nobody
    was there since who could have looked.
    """

    state: StepState = StepState.PENDING
    attempt: int = 0
    began_seq: int | None = None
    done: Mapping[str, JSON] = field(default_factory=dict)
    undo_began: bool = False
    approved: bool = False
    unanswered: bool = False

    @property
    def began(self) -> bool:
        return self.began_seq is not None

    @property
    def output(self) -> Mapping[str, JSON]:
        output = self.done.get("output")
        return output if isinstance(output, Mapping) else {}


def step_event(entry: Entry) -> str | None:
    """What an entry means to its step; None: nothing."""
    if entry.kind == "intent" and entry.payload.get("undo"):
        return "undo"
    if entry.kind == "note":
        return "unknown" if "effect_unknown" in entry.payload else None
    return None if entry.kind == "state" else entry.kind


def replay(entries: Iterable[Entry], step_ids: Iterable[str]) -> dict[str, StepProgress]:
    """Where every step stands after these entries. Pure: the journal is the only truth.

    ValueError names the entry that the table has no row for.
    """
    steps = {step_id: StepProgress() for step_id in step_ids}
    for entry in entries:
        event = step_event(entry)
        if entry.kind == "note" and "approved" in entry.payload and entry.step in steps:
            steps[entry.step] = replace(steps[entry.step], approved=True)
        if entry.kind == "replanned":
            _begin_anew(steps, entry)
            continue
        if event is None:
            continue
        for step_id in [entry.step] if entry.step is not None else list(steps):
            if step_id in steps and (entry.step is not None or event == "resumed"):
                steps[step_id] = _advance(steps[step_id], event, entry)
    return steps


def _advance(step: StepProgress, event: str, entry: Entry) -> StepProgress:
    after = STEP_TABLE.get((step.state, event))
    if after is None:
        raise ValueError(f"entry {entry.seq}: a step in {step.state.name} knows no {event!r}")
    unanswered = event == "unknown" and entry.payload.get("unanswered") is True
    step = replace(step, state=after, unanswered=unanswered)
    if event == "intent":
        began_seq = entry.seq if step.began_seq is None else step.began_seq
        return replace(step, attempt=entry.attempt, began_seq=began_seq)
    if event == "done":
        return replace(step, done=entry.payload)
    if event == "undo":
        return replace(step, undo_began=True)
    return step


def _begin_anew(steps: dict[str, StepProgress], entry: Entry) -> None:
    """What was not undone may still have to be, and attempts are counted on, so that nothing of an
    earlier one is taken for the next one's. Another plan needs its own approvals.
    """
    reset = entry.payload.get("reset")
    for step_id in reset if isinstance(reset, list | tuple) else ():
        if isinstance(step_id, str) and step_id in steps:
            was_undone = steps[step_id].state is StepState.UNDONE
            step = _advance(steps[step_id], "reset", entry)
            steps[step_id] = StepProgress(attempt=step.attempt) if was_undone else step
    if "to" in entry.payload:
        for step_id, step in steps.items():
            steps[step_id] = replace(step, approved=False)


_RESULTS = frozenset({"done", "failed", "undone"})
_RESULT_NOTES = frozenset({"effect_unknown", "undo_failed"})


def under_way(entries: Iterable[Entry]) -> bool:
    """Whether a process died between an intent, or the undoing of one, and what came of it, where
    that may not be done twice: a request of it may still be on its way.
    """
    began: dict[str, bool] = {}
    for entry in entries:
        if entry.step is None:
            continue
        if entry.kind == "intent":
            began[entry.step] = Effect(str(entry.payload["effect"])).must_look
        elif entry.kind in _RESULTS or not _RESULT_NOTES.isdisjoint(entry.payload):
            began.pop(entry.step, None)
    return any(began.values())


def unanswered(entries: Iterable[Entry]) -> frozenset[str]:
    """Ids of the steps of which a request got no answer, and that nobody has waited for since until
    it could not arrive any more (T3); asking for the same again is no such waiting.
    """
    steps: set[str] = set()
    for entry in entries:
        if entry.kind == "note" and entry.step is not None:
            if entry.payload.get("unanswered") is True:
                steps.add(entry.step)
            elif entry.payload.get("outwaited") is True:
                steps &= {entry.step} if entry.payload.get("again") is True else set()
    return frozenset(steps)


def owes_a_wait(entries: Iterable[Entry]) -> bool:
    """Whether what a former process sent may still arrive, by its notes or by those of one that
    wanted to wait for it and did not come to the end (T3).
    """
    owes = False
    for entry in entries:
        if entry.kind == "note":
            owes |= entry.payload.get("former_holder") is True
            owes &= entry.payload.get("outwaited") is not True
    return owes
