"""Runs that nobody typed: opened by a decision in mode auto, and brought to their end."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from drkit.cli.session import Session
from drkit.errors import DrkitError

if TYPE_CHECKING:
    from drkit.coordination.decisions import DecisionRecord
    from drkit.coordination.leadership import LeaderPass
    from drkit.wiring import App

# A process that dies this often does so for a reason that a person has to see.
_MOST_RESUMES = 3


def act_alone(
    session: Session,
    app: App,
    leader: LeaderPass,
    decision: DecisionRecord | None,
    first_failed_at: datetime | None,
) -> str | None:
    """The run that was opened, or whose process was started again; None: nothing was done.

    Neither is done before what a former leader sent can have arrived (T3).
    """
    from drkit.coordination.decision import UNATTENDED, DecisionState
    from drkit.events import Note

    if app.config.decide.mode != "auto":
        return None
    approved = decision is not None and decision.decision.state is DecisionState.APPROVED
    alone = decision is not None and approved and decision.decision.by == UNATTENDED
    if (wait_s := leader.free_from_s - app.clock.elapsed_s()) > 0:
        if alone:
            text = f"waits {wait_s:.0f} s: another one led before (T3)"
            app.emit(Note("info", "decision", text))
        return None
    try:
        if decision is not None and alone:
            return _opened(session, app, leader, decision, first_failed_at)
        return _taken_up(session, app)
    except DrkitError as error:
        app.emit(Note("error", "decision", f"no run could be started: {error.message}"))
        return None


def _opened(
    session: Session,
    app: App,
    leader: LeaderPass,
    decision: DecisionRecord,
    first_failed_at: datetime | None,
) -> str:
    """The decision's run, opened in one transaction that reads what stands against it (R4)."""
    from drkit.cli.runs.following import start_process
    from drkit.cli.runs.running import plan_run
    from drkit.operations.watch.decide import decided_runbook
    from drkit.runs.journal.opening import Opener, Right
    from drkit.state.audit import AuditLog
    from drkit.wiring.arbiter import refuse_skewed_clock
    from drkit.wiring.run import open_journal
    from drkit.wiring.watch import decided_target

    refuse_skewed_clock(app)
    unless_open_elsewhere(app)
    settings, runbook = app.config.decide, decided_runbook(app.config)
    plan = plan_run(app, runbook, kind="failover", target=decided_target(app))
    run = open_journal(app).open_run(
        plan,
        sandbox=app.sandbox,
        first_failed_probe_at=first_failed_at,
        opener=Opener(leader.holder, Right.UNATTENDED, settings, decision.id),
    )
    detail = {"decision": decision.id, "run": run.id, "target": run.target}
    AuditLog(app.database, app.clock).append(
        "run failover", decision.service, detail, who=leader.holder
    )
    start_process(app, session.config_path, run.id)
    return run.id


def unless_open_elsewhere(app: App) -> None:
    """A machine whose state is its own may have left a run open, which the stores know (R4)."""
    from drkit.errors import NeedsOperator
    from drkit.wiring.run import runs_in_stores
    from drkit.wiring.watch import service_of

    service = service_of(app).name
    for run in runs_in_stores(app):
        ours = run.machine == app.machine or run.service != service
        if ours or run.namespace != "production" or run.state.ended:
            continue
        raise NeedsOperator(
            f"{run.kind} {run.id} of {run.machine} is open in the stores, in {run.state.value}",
            hint=f"its machine goes on with it, or another one: "
            f"drkit runs resume {run.id} --take-over",
        )


def _taken_up(session: Session, app: App) -> str | None:
    """An unattended run of this machine whose process died goes on: nobody else looks after it."""
    from drkit.cli.runs.following import start_process
    from drkit.events import Note
    from drkit.runs.records import RunState
    from drkit.wiring.run import open_journal
    from drkit.wiring.watch import service_of

    journal = open_journal(app)
    run = journal.open_run_of(service_of(app).name, "production")
    if run is None or not run.unattended or run.machine != app.machine or run.asked is not None:
        return None
    if run.state in (RunState.NEEDS_OPERATOR, RunState.ROLLBACK_FAILED):
        return None
    if journal.is_executed(run.id):
        return None
    resumed = sum(entry.kind == "resumed" for entry in journal.entries(run.id))
    if resumed >= _MOST_RESUMES:
        text = f"its process died {resumed} times: drkit runs show {run.id}"
        app.emit(Note("error", run.id, text))
        return None
    start_process(app, session.config_path, run.id)
    return run.id
