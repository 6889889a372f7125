"""The walk over the graph: steps start when what they need is done, each in its own thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic

from drkit.errors import Interrupted, PlaceError
from drkit.events import Progress
from drkit.runs.actions.interface import Context
from drkit.runs.book.graph import finished, passed, ready, unapproved
from drkit.runs.book.plan import Plan, PlannedStep
from drkit.runs.failures import Meaning
from drkit.runs.guard import StepGuard
from drkit.runs.journal.journal import Journal
from drkit.runs.records import JSON, Ask, Entry, StepState
from drkit.runs.signals import StopRequest
from drkit.runs.states import StepProgress, replay
from drkit.runs.stepper import StepFailure, Stepper

STEP_BY_STEP = "goes step by step"
TICK_S = 0.1
GRACE_S = 15.0
"""How long steps that were told to stop are waited for before the run goes on without them."""

Ended = tuple[PlannedStep, StepFailure | None, BaseException | None]


class GiveWay(Exception):
    """A failover of the same service asked this drill to end (R4)."""


class Halted(Exception):
    """Nothing runs, and no step may begin without an operator. `answers`: that was asked for."""

    def __init__(self, reason: str, hint: str, *, answers: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.answers = answers


class Asked(Exception):
    """An operator wants the run to end here: its steps were told to stop."""

    def __init__(self, ask: Ask) -> None:
        super().__init__(ask.what)
        self.ask = ask


class StepOverdue(PlaceError):
    """A step gave no result in its time; what it did is unknown."""


@dataclass(slots=True)
class Walk:
    """One walk: `run` returns how it ended. Nothing of it survives in memory that is not in the
    journal; a walk that dies is walked again by the next process.
    """

    journal: Journal
    run_id: str
    plan: Plan
    context: Context
    stepper: Stepper
    make_guard: Callable[[str], StepGuard]
    stop: StopRequest
    one_step: bool = False
    _halting: Ask | None = None
    _began: int = 0
    _results: queue.Queue[Ended] = field(default_factory=queue.Queue)
    _running: dict[str, StepGuard] = field(default_factory=dict)
    _entries: list[Entry] = field(default_factory=list)
    _stand: dict[str, StepProgress] = field(default_factory=dict)

    def run(self) -> StepFailure | None:
        """None when every step is done; else the failure that the run stops for.

        Raises `Interrupted` on a signal, `GiveWay` for a failover, `Asked` and `Halted` for an
        operator; `BaseException`s of the steps' threads, which stand for the death of the
        process, pass through.
        """
        failure: StepFailure | None = None
        try:
            while failure is None:
                self.unless_asked_to_stop()
                steps = self._skip_and_start()
                if not self._running:
                    if finished(self.plan, steps):
                        return None
                    raise self._halted(steps)
                failure = self._wait()
        except KeyboardInterrupt:
            self.stop.ask("SIGINT")
            self._drain()
            raise self._interrupted() from None
        except (Interrupted, GiveWay, Asked):
            self._drain()
            raise
        except BaseException:
            self._stop_all()
            raise
        self._drain()
        return failure

    def _skip_and_start(self) -> Mapping[str, StepProgress]:
        """Starts what may start, and writes down what this run skips."""
        steps = self._steps()
        for step in ready(self.plan, steps, self._running.keys()):
            if step.skip is not None:
                payload: dict[str, JSON] = {"reason": step.skip, "who": "plan"}
                self.journal.append(self.run_id, "skipped", step=step.id, payload=payload)
                return self._skip_and_start()
            if self._halting is None and not (self.one_step and self._began):
                self._start(step, steps)
        self._tell(steps)
        return steps

    def _start(self, step: PlannedStep, steps: Mapping[str, StepProgress]) -> None:
        outputs = {
            each: progress.output
            for each, progress in steps.items()
            if progress.state is StepState.DONE
        }
        guard = self.make_guard(step.id)
        self._began += 1
        self._running[step.id] = guard

        def work() -> None:
            try:
                failure = self.stepper.run(step, steps[step.id], outputs, guard)
                self._results.put((step, failure, None))
            except BaseException as error:
                self._results.put((step, None, error))

        threading.Thread(target=work, name=f"step {step.id}", daemon=True).start()

    def _wait(self) -> StepFailure | None:
        """The next failure that stops the run, if one comes within a tick."""
        try:
            step, failure, crash = self._results.get(timeout=TICK_S)
        except queue.Empty:
            return self._overdue()
        self._running.pop(step.id, None)
        if crash is not None:
            raise crash
        if failure is None or failure.meaning is Meaning.STOPPED:
            return None
        goes_on = step.on_failure == "continue" and failure.meaning is not Meaning.YIELD
        if goes_on and passed(step, self._steps()[step.id]):
            return None
        return failure

    def _overdue(self) -> StepFailure | None:
        now_s = self.context.clock.elapsed_s()
        for step_id, guard in list(self._running.items()):
            step = self.plan.step(step_id)
            why = f"no result within {step.timeout_s:.0f} s"
            if now_s - guard.began_s <= step.timeout_s or not guard.leave(why):
                continue
            self._running.pop(step_id)
            # This ends the walk also where its `on_failure` is `continue`, which speaks of a step
            # that has ended: this one may still be at its request, and going on means that nobody
            # looks what it did (R5), so that a late hold could undo the cutover (R12). A rollback
            # looks, and so does whoever resumes.
            error = StepOverdue(
                f"step {step_id} gave {why}",
                hint="what it did is looked for before anything is done again",
            )
            return StepFailure(step, Meaning.UNKNOWN, error)
        return None

    def unless_asked_to_stop(self) -> None:
        if self.stop.name is not None:
            raise self._interrupted()
        run = self.journal.run(self.run_id)
        if self.plan.kind == "drill" and run.interrupted_by is not None:
            raise GiveWay(self.run_id)
        if run.asked is not None and run.asked.what in ("abort", "rollback"):
            raise Asked(run.asked)
        self._halting = run.asked

    def _halted(self, steps: Mapping[str, StepProgress]) -> Exception:
        """Why nothing begins though nothing runs, for whoever has to say how to go on."""
        self.journal.unless_lost(self.run_id)  # another process began what this one was to begin
        after = ", ".join(step.id for step in ready(self.plan, steps, frozenset()))
        goes_on = f"`drkit runs resume {self.run_id}` goes on"
        if self._halting is not None:
            reason = f"stopped as {self._halting.who} asked; next: {after or 'an approval'}"
            return Halted(reason, goes_on, answers=True)
        if self.one_step and after:
            hint = f"`drkit runs step {self.run_id}` does the next one, {goes_on}"
            return Halted(f"{STEP_BY_STEP}; next: {after}", hint)
        if waiting := [step.id for step in unapproved(self.plan, steps)]:
            names = " and ".join(waiting)
            hint = f"`drkit runs approve {self.run_id}` lets it begin; nothing else ever does"
            return Halted(f"waits for approval of step {names}", hint)
        return RuntimeError(f"run {self.run_id}: no step can start, none is running")

    def _interrupted(self) -> Interrupted:
        return Interrupted(
            f"run {self.run_id} was interrupted by {self.stop.name}",
            hint=f"`drkit runs resume {self.run_id}` goes on where it stands",
        )

    def _stop_all(self) -> None:
        for guard in self._running.values():
            guard.stop()

    def _drain(self) -> None:
        """Stops the other steps and waits for them; one that does not come back in time stays
        EFFECT_UNKNOWN, and can do nothing more that asks its guard.
        """
        self._stop_all()
        end_s = monotonic() + GRACE_S
        while self._running and (rest_s := end_s - monotonic()) > 0:
            try:
                step, _, _ = self._results.get(timeout=rest_s)
            except queue.Empty:
                break
            self._running.pop(step.id, None)
        for guard in self._running.values():
            guard.leave("it did not stop when it was told to")

    def _steps(self) -> dict[str, StepProgress]:
        """Where every step stands now. Only what was added is read: whoever lost the run, so that
        another could change what was written, finds that out at its next line.
        """
        last_seq = self._entries[-1].seq if self._entries else 0
        added = self.journal.entries(self.run_id, last_seq)
        if added or not self._stand:
            self._entries += added
            self._stand = replay(self._entries, [step.id for step in self.plan.steps])
        return self._stand

    def _tell(self, steps: Mapping[str, StepProgress]) -> None:
        over = sum(
            progress.state in (StepState.DONE, StepState.SKIPPED) for progress in steps.values()
        )
        at = ", ".join(step.id for step in self.plan.steps if step.id in self._running)
        self.context.emit(Progress(self.run_id, over, len(steps), "steps", at))
