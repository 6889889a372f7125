"""The engine: executes a frozen plan, and resumes it, with the same code.

What it knows is in the journal. A step whose intent is written and whose result is not is
EFFECT_UNKNOWN, and is looked at before anything is done again.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Set
from typing import assert_never

from drkit.errors import DrkitError, NeedsOperator
from drkit.events import Note
from drkit.runs.actions.interface import Action, Context
from drkit.runs.at_once import UsersFirst, only_holds
from drkit.runs.book.plan import Plan
from drkit.runs.failures import Meaning, failure_payload
from drkit.runs.guard import StepGuard
from drkit.runs.journal.journal import Journal
from drkit.runs.lease import RENEWAL_S, KeptLease, ttl_of
from drkit.runs.process import own_mark
from drkit.runs.records import JSON, Ask, RunRecord, RunState, StepState
from drkit.runs.rollback import Rollback, StepByStep
from drkit.runs.signals import StopRequest, stop_requests
from drkit.runs.states import (
    MILESTONE_OF,
    MILESTONES,
    RUN_TABLE,
    RunEvent,
    owes_a_wait,
    replay,
    run_after,
    unanswered,
    under_way,
)
from drkit.runs.steering.retarget import begin_anew
from drkit.runs.stepper import StepFailure, Stepper
from drkit.runs.walk import Asked, GiveWay, Halted, Walk


def execute(
    journal: Journal,
    run_id: str,
    actions: Mapping[str, Action],
    context: Context,
    *,
    one_step: bool = False,
) -> RunRecord:
    """Brings the run as far as it gets, and returns it: ended, or waiting for an operator; with
    `one_step`, one step further. A run that comes back with another plan, because it was told to
    go elsewhere, is to be executed again, in the context of that one.

    Raises `Interrupted` on SIGTERM and Ctrl-C (`drkit runs resume` goes on), `ClaimLost` and
    `LeaseHeld` or `LeaseLost` when somebody else acts, `ArbiterUnreachable` when nobody may (R1).
    """
    run = journal.run(run_id)
    if run.state.ended:
        return run
    plan = journal.plan(run.id)
    journal.unless_executed(run.id)
    patience_s = 0.0
    if only_holds(run, plan) and not _unknown_actions(plan, actions):
        UsersFirst(journal, run.id, plan, actions, context).before_the_lease()
        patience_s = ttl_of(context.time_scale) + RENEWAL_S
    # The lease first: who does not get it must not take the run from a machine that has it.
    with KeptLease(
        context.arbiter,
        plan.service_key,
        context.holder,
        context.clock,
        run_id=run.id,
        ttl_s=ttl_of(context.time_scale),
        patience_s=patience_s,
    ) as lease:
        journal.claim(run.id)
        try:
            if unknown := _unknown_actions(plan, actions):
                return _ask_about(journal, run, unknown)
            with stop_requests() as stop:
                return _Execution(
                    journal, run.id, plan, actions, context, lease, stop, one_step
                ).run()
        finally:
            journal.release(run.id)


def _unknown_actions(plan: Plan, actions: Mapping[str, Action]) -> list[str]:
    """What this drkit does not know how to do as it was planned (R6)."""
    return [
        f"{step.action} version {step.version}"
        for step in plan.steps
        if step.action not in actions or actions[step.action].version != step.version
    ]


def _ask_about(journal: Journal, run: RunRecord, unknown: list[str]) -> RunRecord:
    reason = f"its plan was made by drkit {run.drkit_version} and needs {', '.join(unknown)}"
    if run.state is RunState.NEEDS_OPERATOR:
        return run
    if (run.state, RunEvent.ASK) not in RUN_TABLE:
        raise NeedsOperator(f"run {run.id}: {reason}", hint="resume it with that version")
    return journal.set_state(
        run.id,
        RunState.NEEDS_OPERATOR,
        reason=reason,
        hint=f"resume it with drkit {run.drkit_version}",
    )


class _Execution:
    """One process's part in a run."""

    def __init__(
        self,
        journal: Journal,
        run_id: str,
        plan: Plan,
        actions: Mapping[str, Action],
        context: Context,
        lease: KeptLease,
        stop: StopRequest,
        one_step: bool,
    ) -> None:
        self._journal = journal
        self._run_id = run_id
        self._plan = plan
        self._actions = actions
        self._context = context
        self._lease = lease
        self._stop = stop
        self._one_step = one_step
        self._lock = threading.Lock()
        self._epoch = self._own_epoch()

    def run(self) -> RunRecord:
        self._note_resumed()
        self._outwait_former_holder()
        run = self._journal.run(self._run_id)
        if run.state in (RunState.ROLLING_BACK, RunState.ROLLBACK_FAILED):
            return self._roll_back({})
        if run.outcome is not None and self._plan.kind == "drill":
            return self._end_drill(run.outcome, {})
        if run.asked is not None:
            return self._obey(run.asked)
        if run.state is RunState.PLANNED:
            self._fire(RunEvent.START)
        elif run.state is RunState.NEEDS_OPERATOR:
            self._fire(RunEvent.RESUME)
        self._catch_up()
        walk = self._walk()
        try:
            if only_holds(run, self._plan):
                first = UsersFirst(
                    self._journal, self._run_id, self._plan, self._actions, self._context
                )
                first.under_the_lease(self._lease, walk.unless_asked_to_stop)
            failure = walk.run()
        except GiveWay:
            return self._end_drill("interrupted", {"reason": "a failover of this service began"})
        except Asked as asked:
            return self._obey(asked.ask)
        except Halted as halted:
            return self._fire(RunEvent.ASK, halted.answers, reason=halted.reason, hint=halted.hint)
        if failure is None:
            return self._succeed()
        return self._fail(failure)

    def _obey(self, ask: Ask) -> RunRecord:
        """Does what an operator asked for while nothing of the run is under way."""
        why: dict[str, JSON] = {"reason": f"{ask.who} asked for {ask.what}"}
        match ask.what:
            case "stop" | "abort":
                hint = f"`drkit runs resume {self._run_id}` goes on where it stands"
                return self._fire(RunEvent.ASK, True, **why, hint=hint)
            case "rollback" if self._plan.kind == "drill":
                return self._end_drill("interrupted", why)
            case "rollback":
                return self._roll_back(why)
            case "retarget":
                return self._retarget(ask)
            case _:
                assert_never(ask.what)

    def _retarget(self, ask: Ask) -> RunRecord:
        """Gives back what was taken on the old target, then goes by the new plan. What stays to be
        given back keeps the run where it is, and it tries again when it is resumed.
        """
        plan = Plan.from_json(ask.plan or "")
        steps = replay(self._journal.entries(self._run_id), [each.id for each in self._plan.steps])
        anew = begin_anew(self._plan, steps)
        why = f"{ask.who} leads it to {plan.target}"
        self._fire(RunEvent.ASK, reason=why)
        if left := self._undo_all(frozenset(anew)):
            return self._fire(RunEvent.ASK, **_left(left))
        kept = [each.id for each in plan.steps if each.id in steps and each.id not in anew]
        kept = [each for each in kept if steps[each].began]
        return self._journal.replan(
            self._run_id, plan, reset=anew, kept=kept, why=why, who=ask.who, target=plan.target
        )

    def _succeed(self) -> RunRecord:
        if self._plan.kind == "drill":
            return self._end_drill("passed", {})
        self._write_evidence()
        self._journal.record(self._run_id, outcome="committed")
        return self._fire(RunEvent.COMMIT)

    def _fail(self, failure: StepFailure) -> RunRecord:
        """A drill ends, a failover does what the step says, who may not act writes nothing."""
        error = failure.error
        if failure.meaning is Meaning.YIELD and error is not None:
            raise error
        why: dict[str, JSON] = {"step": failure.step.id, "reason": "it was told to stop"}
        if error is not None:
            payload = failure_payload(error)
            why |= {"reason": payload["error"], "hint": payload["hint"]}
        self._context.emit(Note("error", failure.step.id, str(why["reason"])))
        if self._plan.kind == "drill":
            return self._end_drill("failed", why)
        undo = failure.step.on_failure in ("rollback", "fallback")
        if undo and failure.meaning is not Meaning.OPERATOR:
            return self._roll_back(why)
        return self._fire(RunEvent.ASK, **why)

    def _roll_back(self, why: Mapping[str, JSON]) -> RunRecord:
        ask = self._journal.run(self._run_id).asked
        self._fire(RunEvent.ROLL_BACK, ask is None or ask.leave is None, **why)
        try:
            left = self._undo_all()
        except StepByStep as waits:
            self._context.emit(Note("info", "run", f"{waits} is undone next"))
            return self._journal.run(self._run_id)
        if left and ask is not None and ask.leave is not None:
            left = self._leave_behind(left, ask)
        self._write_evidence()
        if left:
            return self._fire(RunEvent.STUCK, True, **_left(left))
        self._journal.record(self._run_id, outcome="rolled back")
        return self._fire(RunEvent.UNDONE)

    def _leave_behind(self, left: list[str], ask: Ask) -> list[str]:
        """Nothing is left to be done, for an operator said so; what it is, is in the journal."""
        text = f"{ask.who} leaves behind ({ask.leave}): {'; '.join(left)}"
        payload: dict[str, JSON] = {
            "left_behind": left,
            "who": ask.who,
            "reason": ask.leave,
            "text": text,
        }
        self._journal.append(self._run_id, "note", payload=payload)
        self._context.emit(Note("error", "run", text))
        return []

    def _end_drill(self, outcome: str, why: Mapping[str, JSON]) -> RunRecord:
        """Report first, then the teardown that no runbook can forget, then its proof (R11)."""
        run = self._journal.record(self._run_id, outcome=outcome)
        ask = run.asked
        if run.state is not RunState.TEARDOWN:
            self._fire(RunEvent.REPORT, ask is None or ask.leave is None, outcome=outcome, **why)
            self._write_evidence()
        self._fire(RunEvent.TEAR_DOWN)
        left = self._undo_all()
        if left and ask is not None and ask.leave is not None:
            left = self._leave_behind(left, ask)
        if left:
            return self._fire(RunEvent.ASK, True, **_left(left))
        interrupted = outcome == "interrupted"
        return self._fire(RunEvent.GIVE_WAY if interrupted else RunEvent.END, outcome=outcome)

    def _undo_all(self, only: Set[str] | None = None) -> list[str]:
        step_by_step = self._one_step and only is None and self._plan.kind != "drill"
        return Rollback(
            self._journal,
            self._run_id,
            self._plan,
            self._actions,
            self._context,
            self._make_guard,
            only,
            1 if step_by_step else None,
        ).run()

    def _write_evidence(self) -> None:
        """A report that cannot be written is said, and stops neither commit nor teardown."""
        try:
            paths = dict(self._context.write_evidence())
        except (DrkitError, OSError) as error:
            self._context.emit(Note("error", "evidence", str(error)))
            self._journal.append(self._run_id, "note", payload={"text": f"no evidence: {error}"})
            return
        self._journal.append(self._run_id, "note", payload={"evidence": paths})

    def _walk(self) -> Walk:
        stepper = Stepper(
            self._journal, self._run_id, self._actions, self._context, self._milestone
        )
        return Walk(
            self._journal,
            self._run_id,
            self._plan,
            self._context,
            stepper,
            self._make_guard,
            self._stop,
            one_step=self._one_step,
        )

    def _make_guard(self, step_id: str) -> StepGuard:
        return StepGuard(
            self._journal, self._run_id, step_id, self._epoch, self._lease, self._context.clock
        )

    def _own_epoch(self) -> int:
        """The epoch this run records at cutover: chosen once, one after the recorded one."""
        run = self._journal.run(self._run_id)
        if run.epoch is not None:
            return run.epoch
        role = self._context.arbiter.read_role(self._plan.service_key)
        epoch = (role.epoch if role else 0) + 1
        self._journal.record(self._run_id, epoch=epoch)
        return epoch

    def _note_resumed(self) -> None:
        entries = self._journal.entries(self._run_id)
        if not any(entry.kind == "intent" for entry in entries):
            return
        steps = replay(entries, [step.id for step in self._plan.steps])
        unknown = [
            step_id
            for step_id, progress in steps.items()
            if progress.state in (StepState.INTENT, StepState.EFFECT_UNKNOWN)
        ]
        payload: dict[str, JSON] = {"pid": own_mark()[0], "unknown": unknown}
        self._journal.append(self._run_id, "resumed", payload=payload)

    def _outwait_former_holder(self) -> None:
        """What another machine sent last, or a process that died while it sent something, may still
        arrive: also if a process that wanted to wait for it died meanwhile (T3).
        """
        entries = self._journal.entries(self._run_id)
        if self._lease.wait_s() == 0:
            if owes_a_wait(entries):
                self._lease.outwait()
            elif under_way(entries):
                self._lease.outwait_requests()
        if self._lease.wait_s() > 0:
            self._journal.append(self._run_id, "note", payload={"former_holder": True})
        for step_id in unanswered(entries):
            self._lease.unanswered(step_id)

    def _catch_up(self) -> None:
        """Passes the milestones of steps that are done: a crash may have come between the two."""
        steps = replay(self._journal.entries(self._run_id), [each.id for each in self._plan.steps])
        checks = [step for step in self._plan.steps if step.action == "preflight"]
        if all(each.skip or steps[each.id].state is StepState.SKIPPED for each in checks):
            self._fire(RunEvent.CHECKED)  # a run that checks nothing first is past its checks
        for step in self._plan.steps:
            if steps[step.id].state is StepState.DONE:
                for kind in ("intent", "done"):
                    if event := MILESTONE_OF.get((step.action, kind)):
                        self._fire(event)

    def _milestone(self, event: RunEvent) -> None:
        self._fire(event)

    def _fire(self, event: RunEvent, answers: bool = False, /, **payload: JSON) -> RunRecord:
        with self._lock:
            self._journal.unless_lost(self._run_id)  # whoever has it may have ended it
            run = self._journal.run(self._run_id)
            after = run_after(run.state, event)
            if after is run.state and event in MILESTONES:
                return run
            return self._journal.set_state(self._run_id, after, answers, **payload)


def _left(left: list[str]) -> dict[str, JSON]:
    hint = (
        "`drkit runs resume` tries again; where that is in vain, "
        "`drkit runs rollback --leave-behind WHY` ends the run without it"
    )
    return {"reason": "; ".join(left), "hint": hint, "left_over": left}
