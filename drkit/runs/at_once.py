"""Users first: a run that does nothing but hold users waits for nobody before it does so.

Whoever had the lease may have died, and what it sent may still arrive (T3). Everything else waits
for that; users do not: the external API is a permitted place whatever happens (R8), costs nothing
and is left again at a word. All that a late request can do is to lead users away from it; so it is
looked at again once nothing can arrive, and put right (docs/decisions/0019).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from drkit.coordination.interface import Lease
from drkit.errors import DrkitError
from drkit.runs.actions.interface import Action, Context, StepCall
from drkit.runs.book.plan import Plan, PlannedStep
from drkit.runs.failures import Meaning
from drkit.runs.guard import StepGuard
from drkit.runs.journal.journal import Journal
from drkit.runs.lease import KeptLease
from drkit.runs.process import own_mark
from drkit.runs.records import EXTERNAL, JSON, RunRecord, RunState, StepState
from drkit.runs.states import StepProgress, replay
from drkit.runs.stepper import Stepper

_FIRST = ("hold", "verify_held")
_SLICE_S = 0.2


def only_holds(run: RunRecord, plan: Plan) -> bool:
    """Whether all that it does is to hold users, because a person typed it, and wants it still."""
    wanted = run.asked is None and run.state not in (
        RunState.ROLLING_BACK,
        RunState.ROLLBACK_FAILED,
    )
    holds = plan.target == EXTERNAL and run.namespace == "production"
    return holds and wanted and not run.unattended


@dataclass(frozen=True, slots=True)
class UsersFirst:
    """The steps of one run that hold users, and see that they are held."""

    journal: Journal
    run_id: str
    plan: Plan
    actions: Mapping[str, Action]
    context: Context

    def before_the_lease(self) -> None:
        """Holds users, if another has the lease. What fails is tried again under the lease."""
        held = self.context.arbiter.holding(self.plan.service_key)
        if held is None or held.holder == self.context.holder or held.left_s <= 0:
            return
        self.journal.claim(self.run_id, only_free=True)
        try:
            steps = self._steps()
            began = [each for each in steps if steps[each].state is StepState.INTENT]
            if began:  # by a process that died, so that it is unknown what came of it
                payload: dict[str, JSON] = {"pid": own_mark()[0], "unknown": began}
                self.journal.append(self.run_id, "resumed", payload=payload)
            self._note(f"{held.holder} has the lease of {self.plan.service}: users do not wait")
            context = self.context
            self._hold(
                _NobodysLease(context.arbiter, self.plan.service_key, context.holder, context.clock)
            )
        finally:
            self.journal.release(self.run_id)

    def under_the_lease(self, lease: KeptLease, unless_told_to_stop: Callable[[], None]) -> None:
        """Holds users before whatever has to be waited for, and again after it, if need be."""
        clock = self.context.clock
        wait_s = lease.wait_s() / self.context.time_scale
        if wait_s > 0:
            self._hold(lease)
            self._note(f"waits {wait_s:.0f} s for what another process sent, or got no answer")
            end_s = clock.elapsed_s() + wait_s
            while (rest_s := end_s - clock.elapsed_s()) > 0:
                unless_told_to_stop()
                clock.sleep(min(rest_s, _SLICE_S))
            said = "nothing of what was sent before can arrive now"
            self._note(said, outwaited=True)
        self._see_that_they_are(lease)

    def _hold(self, lease: KeptLease) -> None:
        stepper = Stepper(
            self.journal, self.run_id, self.actions, self.context, lambda _event: None
        )
        for step in self.plan.steps:
            progress = self._steps()[step.id]
            over = progress.state in (StepState.DONE, StepState.SKIPPED) or step.skip is not None
            if step.action not in _FIRST or over:
                continue
            failure = stepper.run(step, progress, {}, self._guard(step.id, lease))
            if failure is None:
                continue
            if failure.meaning is Meaning.YIELD and failure.error is not None:
                raise failure.error  # another acts: nothing is tried again
            return

    def _see_that_they_are(self, lease: KeptLease) -> None:
        """A late request may have led users away since they were held: then these steps begin anew,
        as they did at first.
        """
        steps = self._steps()
        done = [
            step
            for step in self.plan.steps
            if step.action in _FIRST and steps[step.id].state is StepState.DONE
        ]
        if done and not all(self._still_there(step, steps[step.id], lease) for step in done):
            why = "what arrived late led users away: they are held again"
            reset = [step.id for step in done]
            self.journal.append(self.run_id, "replanned", payload={"reset": reset, "why": why})

    def _still_there(self, step: PlannedStep, progress: StepProgress, lease: KeptLease) -> bool:
        look = self.actions[step.action].look
        if look is None:
            return True
        guard = self._guard(step.id, lease)
        guard.begin(progress.attempt)
        call = StepCall(self.run_id, step.id, progress.attempt, step.arguments, {}, guard)
        try:
            return look(call, self.context) is not None
        except DrkitError:
            return False  # who cannot be asked is asked as often as the step says

    def _guard(self, step_id: str, lease: KeptLease) -> StepGuard:
        epoch = self.journal.run(self.run_id).epoch or 0
        return _NeverWaits(self.journal, self.run_id, step_id, epoch, lease, self.context.clock)

    def _note(self, text: str, **more: JSON) -> None:
        self.journal.append(self.run_id, "note", payload={"text": text, **more})

    def _steps(self) -> dict[str, StepProgress]:
        return replay(self.journal.entries(self.run_id), [step.id for step in self.plan.steps])


class _NeverWaits(StepGuard):
    """What is done under it may be done at any time."""

    def outwait_former_holder(self, time_scale: float, *, again: bool = False) -> None:
        """Nothing that may still arrive makes it wrong."""


class _NobodysLease(KeptLease):
    """Is not there yet, and proves nothing; the claim on the run is what guards it (R5)."""

    def prove(self, run_id: str, epoch: int | None) -> Lease:
        return Lease(self._service, self._holder, self._ttl_s, "", taken_over=True)
