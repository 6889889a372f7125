"""A runbook executed as its kind: plan, screen, confirmation, run, and what it took."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import typer

from drkit.cli.apps import check_credentials, opened, run_parts
from drkit.cli.session import Session
from drkit.errors import ConfigError, NeedsOperator

if TYPE_CHECKING:
    from drkit.runs.book.plan import Plan
    from drkit.runs.records import RunKind
    from drkit.wiring import App


def execute_named(
    session: Session,
    name: str,
    *,
    to: str | None,
    yes: bool,
    kind: RunKind | None = None,
    break_glass: bool = False,
) -> int:
    """Executes the runbook `name`; the exit status of its run. ConfigError if it is not `kind`."""
    from drkit.cli.runs.open_run import offer_open_run
    from drkit.cli.runs.planning import plan_head, show_plan

    up = not session.dry_run
    with opened(session, servers=up, keep_servers=up, parts=("switch", "arbiter")) as app:
        if not session.dry_run:
            _tell_arbiter(app)
        plan = _planned(app, name, to, kind)
        if session.dry_run:
            show_plan(session, app.config, plan)
            return 0
        _make_ready(session, app, plan)
        for line in plan_head(app.config, plan):
            session.terminal.say(line)
        if (status := offer_open_run(session, app, plan)) is not None:
            return status
        return _carry_out(session, app, plan, yes=yes, break_glass=break_glass)


def _planned(app: App, name: str, to: str | None, kind: RunKind | None) -> Plan:
    from drkit.cli.runs.planning import plan_named

    plan = plan_named(app, name, to=to)
    if kind not in (None, plan.kind):
        raise ConfigError(
            f"runbook {name} is a {plan.kind} and no {kind}",
            hint=f"`drkit runbook run {name}` executes it as what it is",
        )
    if plan.kind == "drill":
        raise ConfigError(
            f"runbook {name} is a drill", hint="drills are executed by drkit run-drill"
        )
    return plan


def _tell_arbiter(app: App) -> None:
    """Who serves may have been recorded while the arbiter was away: it is told before asked."""
    from drkit.coordination.interface import ArbiterUnreachable
    from drkit.wiring.run import tell_kept_role

    if app.config.service is not None:
        with suppress(ArbiterUnreachable):
            tell_kept_role(app, app.config.service.name)


def _make_ready(session: Session, app: App, plan: Plan) -> None:
    """Raises what would stop the run at its first step; the sandbox gets a point to restore."""
    from drkit.cli.repository.backing_up import run_backup
    from drkit.cli.runs.planning import must_be_open
    from drkit.points.find import newest_point

    check_credentials(session, app, run_parts(plan.target))
    must_be_open(app, plan)
    needs_point = any(step.action == "point" for step in plan.steps)
    if session.sandbox and needs_point and newest_point(app.repository) is None:
        run_backup(app)


def _carry_out(session: Session, app: App, plan: Plan, *, yes: bool, break_glass: bool) -> int:
    from drkit.cli.runs.break_glass import arbiter_words
    from drkit.cli.runs.running import carry_out, first_failed_probe

    words = arbiter_words(session, app, break_glass=break_glass)
    if not yes and not session.sandbox and not typer.confirm(_question(plan)):
        raise NeedsOperator("not confirmed; nothing was done", hint="add --yes")
    failed_at = first_failed_probe(app) if plan.kind == "failover" else None
    run_ids: list[str] = []
    status = carry_out(
        session, app, plan, first_failed_at=failed_at, opened=run_ids.append, words=words
    )
    _tell_held(session, app, run_ids[0])
    return status


def _question(plan: Plan) -> str:
    match plan.kind:
        case "failback":
            return f"Bring {plan.service} home to {plan.primary}, and give {plan.target} back?"
        case "switchover":
            return f"Move {plan.service} to the {plan.target} now?"
        case _:
            return f"Execute {plan.runbook} ({plan.kind}) on {plan.target}?"


def _tell_held(session: Session, app: App, run_id: str) -> None:
    """How long it took until users were seen on the external API, where that was looked at."""
    from drkit.wiring.run import open_journal

    journal = open_journal(app)
    held = {step.id for step in journal.plan(run_id).steps if step.action == "verify_held"}
    for entry in journal.entries(run_id):
        if entry.step in held and entry.kind == "done":
            values = {"run_id": run_id, "seconds": round(entry.elapsed_s, 3)}
            text = f"users were on the external API {entry.elapsed_s:.1f} s after the run began"
            session.terminal.result("users_held", values, text)
            return
