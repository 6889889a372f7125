"""Taking back what began, in reverse, and proving that it is gone (R12); a drill's teardown too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass

from drkit.errors import DrkitError
from drkit.runs.actions.interface import Action, Context, Done, StepCall
from drkit.runs.book.graph import began_in_reverse
from drkit.runs.book.plan import Plan, PlannedStep
from drkit.runs.book.references import fill_outputs
from drkit.runs.failures import Meaning, failure_payload, meaning_of
from drkit.runs.guard import StepGuard
from drkit.runs.journal.journal import Journal
from drkit.runs.lease import Superseded
from drkit.runs.records import JSON, Effect, Entry, paid_resources
from drkit.runs.states import StepProgress, replay


class StepByStep(Exception):
    """As many steps were undone as were asked for; the named one is next."""


@dataclass(frozen=True, slots=True)
class Rollback:
    """Undoes the steps of one run that began, and no others: those in `only`, where it is given.

    `at_most`: how many of them now; None: all.
    """

    journal: Journal
    run_id: str
    plan: Plan
    actions: Mapping[str, Action]
    context: Context
    make_guard: Callable[[str], StepGuard]
    only: Set[str] | None = None
    at_most: int | None = None

    def run(self) -> list[str]:
        """What is left over, in words; empty when all is undone and proved.

        One undo that fails does not keep the others from being tried, but for this: a machine that
        traffic could not be led away from is kept. May be called again: what was undone already is
        left alone.
        """
        steps = replay(self.journal.entries(self.run_id), [step.id for step in self.plan.steps])
        outputs = {each: step.output for each, step in steps.items() if step.output}
        left: list[str] = []
        leads_there = False
        undone = 0
        for step in began_in_reverse(self.plan, steps):
            if self.actions[step.action].undo is None:
                continue
            if self.only is not None and step.id not in self.only:
                continue
            if undone == self.at_most:
                raise StepByStep(step.id)
            undone += step.keep is None
            if step.keep is not None:
                self._note(step.id, {"text": f"stays as it is: {step.keep}"})
            elif leads_there and step.effect is Effect.PAID:
                left.append(f"{step.id}: kept, because traffic may still lead there")
                self._note(step.id, {"text": left[-1]})
            elif why := self._undo(step, steps[step.id], outputs):
                left.append(f"{step.id}: {why}")
                leads_there |= step.effect is Effect.TRAFFIC and self.plan.kind != "drill"
        left += self._prove()
        return left

    def _undo(
        self,
        step: PlannedStep,
        progress: StepProgress,
        outputs: Mapping[str, Mapping[str, JSON]],
    ) -> str | None:
        """Why it could not be undone; None if it was."""
        guard = self.make_guard(step.id)
        intent: dict[str, JSON] = {
            "action": step.action,
            "version": step.version,
            "effect": step.effect.value,
            "undo": True,
        }
        attempt = progress.attempt
        guard.begin(attempt, intent)
        arguments = fill_outputs(step.arguments, outputs)
        call = StepCall(self.run_id, step.id, attempt, arguments, outputs, guard)
        done = _done_of(progress) if progress.done else None
        try:
            if step.effect.must_look:
                guard.outwait_former_holder(self.context.time_scale)
            proof = self._take_back(step, call, done, guard)
        except Exception as error:
            if meaning_of(error) in (Meaning.YIELD, Meaning.STOPPED):
                raise
            payload = failure_payload(error)
            asked = meaning_of(error) is Meaning.UNKNOWN and step.effect.must_look
            said = {"undo_failed": payload["error"], "hint": payload["hint"]}
            (guard.unanswered if asked else guard.note)(said)
            return str(payload["error"])
        self.journal.append(
            self.run_id, "undone", step=step.id, attempt=attempt, payload={"proof": proof}
        )
        return None

    def _take_back(
        self, step: PlannedStep, call: StepCall, done: Done | None, guard: StepGuard
    ) -> str:
        """What another run led elsewhere since is that one's; what is this run's own is not."""
        action = self.actions[step.action]
        assert action.undo is not None
        try:
            guard.check()
        except Superseded as error:
            if step.effect in (Effect.TRAFFIC, Effect.FENCE):
                return f"left as it is: {error.message}"
            if not action.own:
                raise
            guard.whoever_serves()
            guard.check()
        return action.undo(call, done, self.context)

    def _prove(self) -> list[str]:
        """Looks for what carries this run's tag: a list of what should not be there any more."""
        entries = self.journal.entries(self.run_id)
        if not _asked_for_money(entries):
            return []
        try:
            found = self.context.compute.find({"drkit-run": self.run_id})
        except DrkitError as error:
            return [f"{self.plan.target} could not be asked what is left: {error.message}"]
        left = [f"instance {each.id} on {self.plan.target} still exists" for each in found]
        left += [
            f"{paid.what} ({paid.key}) is not confirmed gone"
            for paid in paid_resources(entries)
            if paid.state != "CONFIRMED_GONE"
        ]
        text = "; ".join(left) or f"{self.plan.target} holds nothing with this run's tag"
        self._note(None, {"left_over": left, "text": text})
        return left

    def _note(self, step_id: str | None, payload: Mapping[str, JSON]) -> None:
        self.journal.append(self.run_id, "note", step=step_id, payload=payload)


def _asked_for_money(entries: list[Entry]) -> bool:
    return any("paid" in entry.payload for entry in entries if entry.kind == "note")


def _done_of(progress: StepProgress) -> Done:
    return Done(proof=str(progress.done.get("proof", "")), output=progress.output)
