"""One step from its first intent to its last result: look, act, retry by class of error."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from drkit.io_policy import Retry
from drkit.runs.actions.interface import Action, Context, Done, StepCall
from drkit.runs.book.plan import PlannedStep
from drkit.runs.book.references import fill_outputs
from drkit.runs.failures import Meaning, StepStopped, failure_payload, meaning_of, proof_json
from drkit.runs.guard import StepGuard
from drkit.runs.journal.journal import Journal
from drkit.runs.records import JSON
from drkit.runs.states import MILESTONE_OF, RunEvent, StepProgress

FIRST_PAUSE_S = 2.0
MOST_PAUSE_S = 60.0


@dataclass(frozen=True, slots=True)
class StepFailure:
    """How a step ended that is not done. `error` is None when it was told to stop."""

    step: PlannedStep
    meaning: Meaning
    error: Exception | None


@dataclass(frozen=True, slots=True)
class Stepper:
    """Runs steps of one run; each in a thread of its own. `fire` moves the run's state."""

    journal: Journal
    run_id: str
    actions: Mapping[str, Action]
    context: Context
    fire: Callable[[RunEvent], None]

    def run(
        self,
        step: PlannedStep,
        progress: StepProgress,
        outputs: Mapping[str, Mapping[str, JSON]],
        guard: StepGuard,
    ) -> StepFailure | None:
        """None once the step is done and its result is in the journal.

        A result that comes after the engine stopped waiting is dropped: it is EFFECT_UNKNOWN.
        """
        retry = Retry(step.retries + 1, FIRST_PAUSE_S, MOST_PAUSE_S)
        pauses = retry.pauses_s(random.Random())
        attempt = progress.attempt
        while True:
            attempt += 1
            failure = self._attempt(step, attempt, outputs, guard)
            if failure is None or failure.meaning not in (Meaning.RETRY, Meaning.UNKNOWN):
                return failure
            pause_s = next(pauses, None)
            if pause_s is None:
                return failure
            try:
                guard.pause(pause_s / self.context.time_scale)
            except Exception:
                return failure

    def _attempt(
        self,
        step: PlannedStep,
        attempt: int,
        outputs: Mapping[str, Mapping[str, JSON]],
        guard: StepGuard,
    ) -> StepFailure | None:
        arguments = fill_outputs(step.arguments, outputs)
        intent: dict[str, JSON] = {
            "action": step.action,
            "version": step.version,
            "effect": step.effect.value,
            "with": arguments,
        }
        self.context.breakpoint(step.id, "before-intent")
        try:
            guard.begin(attempt, intent)
        except StepStopped:
            return StepFailure(step, Meaning.STOPPED, None)
        self._milestone(step, "intent")
        self.context.breakpoint(step.id, "after-intent")
        call = StepCall(self.run_id, step.id, attempt, arguments, outputs, guard)
        try:
            done, adopted = self._act(step, call, guard)
        except Exception as error:
            return self._failed(step, attempt, error, guard)
        self.context.breakpoint(step.id, "after-effect")
        if not guard.settle():
            return StepFailure(step, Meaning.STOPPED, None)
        self.journal.append(
            self.run_id, "done", step=step.id, attempt=attempt, payload=_done_payload(done, adopted)
        )
        self._learn(done)
        self._milestone(step, "done")
        self.context.breakpoint(step.id, "after-record")
        return None

    def _act(self, step: PlannedStep, call: StepCall, guard: StepGuard) -> tuple[Done, bool]:
        """What is already there is adopted; else it is done now, if this attempt still may."""
        action = self.actions[step.action]
        if step.effect.must_look:
            guard.outwait_former_holder(self.context.time_scale, again=True)
        call.guard.check()
        if action.look is not None and step.effect.must_look:
            if (found := action.look(call, self.context)) is not None:
                return found, True
            call.guard.check()
        return action.run(call, self.context), False

    def _failed(
        self, step: PlannedStep, attempt: int, error: Exception, guard: StepGuard
    ) -> StepFailure:
        meaning = meaning_of(error)
        if meaning is Meaning.YIELD or not guard.settle():
            return StepFailure(step, meaning, error)
        if meaning in (Meaning.UNKNOWN, Meaning.STOPPED):
            why = "told to stop" if meaning is Meaning.STOPPED else failure_payload(error)["error"]
            asked = meaning is Meaning.UNKNOWN and step.effect.must_look
            (guard.unanswered if asked else guard.note)({"effect_unknown": why})
        else:
            self.journal.append(
                self.run_id,
                "failed",
                step=step.id,
                attempt=attempt,
                payload=failure_payload(error),
            )
        return StepFailure(step, meaning, None if meaning is Meaning.STOPPED else error)

    def _milestone(self, step: PlannedStep, kind: str) -> None:
        if event := MILESTONE_OF.get((step.action, kind)):
            self.fire(event)

    def _learn(self, done: Done) -> None:
        """The point's cut time belongs to the run's record: RPO is measured against it."""
        if isinstance(cut_at := done.output.get("point_cut_at"), str):
            self.journal.record(self.run_id, point_cut_at=datetime.fromisoformat(cut_at))


def _done_payload(done: Done, adopted: bool) -> dict[str, JSON]:
    return {
        "output": done.output,
        "proof": done.proof,
        "proofs": [proof_json(proof) for proof in done.proofs],
        "adopted": adopted,
    }
