"""A runbook executed as its kind: plan, screen, confirmation, run, and what it took."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from drkit.cli.apps import check_credentials, opened, run_parts
from drkit.cli.options import Session
from drkit.errors import ConfigError, NeedsOperator

if TYPE_CHECKING:
    from drkit.runs.plan import Plan
    from drkit.runs.records import RunKind
    from drkit.wiring import App


def execute_named(
    session: Session, name: str, *, to: str | None, yes: bool, kind: RunKind | None = None
) -> int:
    """Executes the runbook `name`; the exit status of its run. ConfigError if it is not `kind`."""
    from drkit.cli.jobs import run_backup
    from drkit.cli.planning import must_be_open, plan_head, plan_named, show_plan
    from drkit.cli.running import carry_out, first_failed_probe
    from drkit.points.find import newest_point

    up = not session.dry_run
    with opened(session, servers=up, keep_servers=up, parts=("switch", "arbiter")) as app:
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
        if session.dry_run:
            show_plan(session, app.config, plan)
            return 0
        check_credentials(session, app, run_parts(plan.target))
        must_be_open(app, plan)
        needs_point = any(step.action == "point" for step in plan.steps)
        if session.sandbox and needs_point and newest_point(app.repository) is None:
            run_backup(app)
        for line in plan_head(app.config, plan):
            session.terminal.say(line)
        if not yes and not session.sandbox and not typer.confirm(_question(plan)):
            raise NeedsOperator("not confirmed; nothing was done", hint="add --yes")
        failed_at = first_failed_probe(app) if plan.kind == "failover" else None
        run_ids: list[str] = []
        status = carry_out(session, app, plan, first_failed_at=failed_at, opened=run_ids.append)
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
