"""What an operator says to a run: go on, one step, approve, stop, skip, roll back, elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import typer

from drkit.cli.runs.following import ask_for, attach, start_and_attach
from drkit.cli.session import Session
from drkit.errors import ConfigError, GuardRefused, NeedsOperator

if TYPE_CHECKING:
    from drkit.runs.book.plan import Plan
    from drkit.runs.journal.journal import Journal
    from drkit.runs.records import JSON, RunRecord
    from drkit.runs.states import StepProgress
    from drkit.wiring import App


_TAKES_OVER = "takes it over, as soon as nobody executes it there"


def go_on(
    session: Session,
    app: App,
    selector: str,
    *,
    take_over: bool = False,
    break_glass: bool = False,
) -> int:
    """Resumes the run; one that is another machine's is taken over first, if that was asked for or
    nobody here knows it. Without the arbiter nothing is taken over.
    """
    from drkit.cli.runs.break_glass import arbiter_words
    from drkit.wiring.run import open_journal

    journal = open_journal(app)
    words = arbiter_words(session, app, break_glass=break_glass)
    if words:
        run = _open_run(journal, selector)
    else:
        run = _own_or_taken_over(session, app, journal, selector, take_over=take_over)
    if journal.is_executed(run.id):
        return attach(session, app, journal, run.id)
    if run.asked is not None and run.asked.what in ("stop", "abort"):
        from drkit.state.audit import this_user

        journal.ask(run.id, None, who=this_user())
    _audit(app, "run resumed", run.id)
    return start_and_attach(session, app, journal, run.id, *words)


def _own_or_taken_over(
    session: Session, app: App, journal: Journal, selector: str, *, take_over: bool
) -> RunRecord:
    from drkit.wiring.run import others_run, take_over_run, unless_taken_over

    if selector == "latest":  # of what is still to be brought to an end
        selector = next((run.id for run in journal.runs() if not run.state.ended), selector)
    known = {run.id for run in journal.runs()}
    if not any(each.startswith(selector) for each in known):
        found = others_run(app, selector, known)
        if found is not None:
            session.terminal.say(f"{found.id} is of {found.machine}: {_TAKES_OVER}")
            return take_over_run(app, journal, found.id)
    run = journal.run(selector)
    if take_over:
        return take_over_run(app, journal, run.id)
    if run.state.ended or journal.is_executed(run.id):
        return run
    if run.machine not in (None, app.machine):
        session.terminal.say(
            f"{run.id} is of {run.machine}: takes it over, once nobody executes it"
        )
        return take_over_run(app, journal, run.id, shared=True)
    unless_taken_over(app, run.id)
    return run


def one_step(session: Session, app: App, selector: str) -> int:
    from drkit.runs.walk import STEP_BY_STEP
    from drkit.wiring.run import open_journal

    journal = open_journal(app)
    run = _open_run(journal, selector)
    status = start_and_attach(session, app, journal, run.id, "--one-step")
    states = [each.payload for each in journal.entries(run.id) if each.kind == "state"]
    went = str(states[-1].get("reason", "")).startswith(STEP_BY_STEP)
    return 0 if went or states[-1].get("to") == "ROLLING_BACK" else status


def run_that_waits(app: App, service: str) -> str | None:
    """The open run of which a step waits for approval now; None if none does."""
    from drkit.runs.book.graph import unapproved
    from drkit.wiring.run import open_journal

    journal = open_journal(app)
    run = journal.open_run_of(service, "production")
    if run is None:
        return None
    return run.id if unapproved(*_standing(journal, run.id)) else None


def approve_steps(session: Session, app: App, selector: str, step_id: str | None) -> int:
    from drkit.runs.book.graph import unapproved
    from drkit.state.audit import this_user
    from drkit.wiring.run import open_journal

    journal = open_journal(app)
    run = _open_run(journal, selector)
    plan, steps = _standing(journal, run.id)
    waiting = [step.id for step in unapproved(plan, steps)]
    if step_id is not None:
        may = [s.id for s in plan.steps if s.approval != "none" and not steps[s.id].approved]
        if step_id not in may:
            raise ConfigError(
                f"step {step_id!r} of run {run.id} needs no approval",
                hint=f"those that do: {', '.join(may) or 'none any more'}",
            )
        waiting = [step_id]
    if not waiting:
        raise NeedsOperator(
            f"no step of run {run.id} waits for approval now",
            hint=f"`drkit runs show {run.id}` says where it stands",
        )
    if session.dry_run:
        words = f"would approve {', '.join(waiting)} of run {run.id}"
        session.terminal.result("would_approve", {"run_id": run.id, "steps": waiting}, words)
        return 0
    for each in waiting:
        journal.approve(run.id, each, who=this_user())
        _audit(app, "step approved", run.id, {"step": each})
    if journal.is_executed(run.id):
        return attach(session, app, journal, run.id)
    return start_and_attach(session, app, journal, run.id)


def abort_run(session: Session, app: App, selector: str) -> int:
    from drkit.runs.steering.stopping import stop_where_it_is
    from drkit.state.audit import this_user
    from drkit.wiring.run import lease_of, open_journal

    journal = open_journal(app)
    run = _open_run(journal, selector)
    if run.state.value in ("ROLLING_BACK", "ROLLBACK_FAILED"):
        raise GuardRefused(
            f"run {run.id} is being rolled back, which is not left half done",
            hint=f"`drkit runs attach {run.id}` looks on",
        )
    if session.dry_run:
        words = f"would stop run {run.id}, which is in {run.state.value}"
        values = {"run_id": run.id, "state": run.state.value}
        session.terminal.result("would_abort", values, words)
        return 0
    _audit(app, "run aborted", run.id)
    if journal.is_executed(run.id):
        ask_for(journal, run.id, "abort")
        attach(session, app, journal, run.id)
    else:
        stop_where_it_is(journal, run.id, partial(lease_of, app), who=this_user())
    run = journal.run(run.id)
    session.terminal.result(
        "run_aborted",
        {"run_id": run.id, "state": run.state.value},
        f"run {run.id} is {run.state.value}; {_ways(run.id)}",
    )
    return 0


def _ways(run_id: str) -> str:
    return (
        f"drkit runs resume {run_id} goes on, drkit runs rollback {run_id} takes back what it "
        f"began, drkit runs retarget {run_id} --to TARGET leads it elsewhere"
    )


def skip_named(session: Session, app: App, selector: str, step_id: str, reason: str) -> None:
    from drkit.runs.steering.skip import may_skip, skip_step
    from drkit.state.audit import this_user
    from drkit.wiring.run import lease_of, open_journal

    if not reason.strip():
        raise ConfigError("a step is skipped for a reason", hint="add --reason 'WHY'")
    journal = open_journal(app)
    run = _open_run(journal, selector)
    if session.dry_run:
        plan, steps = _standing(journal, run.id)
        may_skip(run, plan, steps, step_id)
        values = {"run_id": run.id, "step": step_id}
        session.terminal.result("would_skip", values, f"would go on without {step_id}")
        return
    skip_step(journal, run.id, step_id, partial(lease_of, app), reason=reason, who=this_user())
    _audit(app, "step skipped", run.id, {"step": step_id, "reason": reason})
    session.terminal.result(
        "step_skipped",
        {"run_id": run.id, "step": step_id, "reason": reason},
        f"run {run.id} goes on without {step_id}: drkit runs resume {run.id}",
    )


def roll_back(
    session: Session, app: App, selector: str, *, yes: bool, leave: str | None = None
) -> int:
    """`leave`: why the run is to end also if something cannot be undone, which is left behind."""
    from drkit.runs.book.graph import began_in_reverse
    from drkit.wiring.run import open_journal, unless_taken_over

    journal = open_journal(app)
    run = _open_run(journal, selector)
    unless_taken_over(app, run.id)
    plan, steps = _standing(journal, run.id)
    began = [step.id for step in began_in_reverse(plan, steps)]
    words = f"run {run.id} began {', '.join(began) or 'nothing'}: what of it can be undone is, in "
    values = {"run_id": run.id, "began": began}
    session.terminal.result("rollback_plan", values, f"{words}this order")
    if leave is not None:
        if not leave.strip():
            raise ConfigError(
                "something is left behind for a reason", hint="say it in a word or two"
            )
        session.terminal.say("what cannot be undone is named, and left behind: it may cost money")
    if session.dry_run:
        return 0
    _confirm(session, "Roll it back?", yes=yes, hint=f"drkit runs rollback {run.id} --yes")
    _audit(app, "run rolled back", run.id, {"leave_behind": leave} if leave else None)
    ask_for(journal, run.id, "rollback", leave=leave)
    if journal.is_executed(run.id):
        status = attach(session, app, journal, run.id)
        if journal.run(run.id).asked is None:
            return _undone(journal, run.id, status)
    status = start_and_attach(session, app, journal, run.id)
    return _undone(journal, run.id, status)


def _undone(journal: Journal, run_id: str, status: int) -> int:
    """0 when what was asked for came true, though the run itself did not do its work."""
    return 0 if journal.run(run_id).state.value in ("ROLLED_BACK", "INTERRUPTED") else status


def lead_elsewhere(session: Session, app: App, selector: str, to: str, *, yes: bool) -> int:
    from drkit.cli.runs.running import plan_lines, plan_run
    from drkit.runs.steering.retarget import begin_anew, may_retarget
    from drkit.wiring.run import open_journal, unless_taken_over

    journal = open_journal(app)
    run = _open_run(journal, selector)
    unless_taken_over(app, run.id)
    new = plan_run(app, run.runbook, kind=run.kind, target=to)
    plan, steps = _standing(journal, run.id)
    may_retarget(run, plan, steps, new)
    if journal.is_executed(run.id):
        raise NeedsOperator(
            f"run {run.id} is being executed", hint=f"stop it first: drkit runs abort {run.id}"
        )
    anew = begin_anew(plan, steps)
    kept = [step.id for step in plan.steps if steps[step.id].began and step.id not in anew]
    for line in plan_lines(app, new):
        session.terminal.say(line)
    words = (
        f"run {run.id} keeps {', '.join(kept) or 'nothing'}, gives back what it has on "
        f"{plan.target}, and begins anew: {', '.join(anew) or 'nothing'}"
    )
    values = {"run_id": run.id, "to": to, "kept": kept, "anew": list(anew)}
    session.terminal.result("retarget_plan", values, words)
    if session.dry_run:
        return 0
    again = f"drkit runs retarget {run.id} --to {to} --yes"
    _confirm(session, f"Lead it to {to}?", yes=yes, hint=again)
    _audit(app, "run retargeted", run.id, {"to": to, "plan": new.checksum})
    ask_for(journal, run.id, "retarget", new.to_json())
    return start_and_attach(session, app, journal, run.id)


def _open_run(journal: Journal, selector: str) -> RunRecord:
    run = journal.run(selector)
    if run.state.ended:
        raise ConfigError(
            f"run {run.id} has ended: it is {run.state.value}",
            hint="`drkit runs list` shows those that are open",
        )
    return run


def _standing(journal: Journal, run_id: str) -> tuple[Plan, Mapping[str, StepProgress]]:
    from drkit.runs.states import replay

    plan = journal.plan(run_id)
    return plan, replay(journal.entries(run_id), [step.id for step in plan.steps])


def _confirm(session: Session, question: str, *, yes: bool, hint: str) -> None:
    """Raises `NeedsOperator` unless somebody said so; the sandbox does not ask."""
    import sys

    if yes or session.sandbox:
        return
    if not sys.stdin.isatty() or not typer.confirm(question):
        raise NeedsOperator("not confirmed; nothing was done", hint=hint)


def _audit(app: App, what: str, run_id: str, detail: Mapping[str, JSON] | None = None) -> None:
    from drkit.state.audit import AuditLog

    AuditLog(app.database, app.clock).append(what, run_id, detail or {})
