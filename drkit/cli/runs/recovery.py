"""The commands that bring the service back: failover, run-drill."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from drkit.cli.apps import opened, run_parts, sandbox_running
from drkit.cli.options import BreakGlass, command
from drkit.cli.session import Session

app = typer.Typer()
RUN_PARTS = ("stores", "repository", "service", "targets", "switch", "arbiter")
DEFAULT_RUNBOOK = "primary-gpu-down"

To = Annotated[str | None, typer.Option("--to", help="The target; default: the first one.")]
RunbookName = Annotated[str, typer.Option("--runbook", help="A file in the runbooks folder.")]


@command(app, changes=True)
def failover(
    session: Session,
    to: Annotated[str, typer.Option("--to", help="The target, by its name.")],
    runbook: RunbookName = DEFAULT_RUNBOOK,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    step: Annotated[
        bool, typer.Option("--step", help="One step, then wait: drkit runs step goes on.")
    ] = False,
    break_glass: BreakGlass = False,
) -> int:
    """Brings the service up on another GPU, proves it, then moves traffic there."""
    from drkit.cli.repository.backing_up import run_backup
    from drkit.cli.runs.break_glass import arbiter_words
    from drkit.cli.runs.open_run import offer_open_run
    from drkit.cli.runs.planning import show_plan
    from drkit.cli.runs.running import carry_out, first_failed_probe, plan_lines, plan_run
    from drkit.errors import NeedsOperator
    from drkit.points.find import list_points

    up = not session.dry_run
    with opened(session, servers=up, keep_servers=up, parts=run_parts(to)) as opened_app:
        plan = plan_run(opened_app, runbook, kind="failover", target=to)
        if session.dry_run:
            show_plan(session, opened_app.config, plan)
            return 0
        if session.sandbox and not list_points(opened_app.repository):
            run_backup(opened_app)
        for line in plan_lines(opened_app, plan):
            session.terminal.say(line)
        if (status := offer_open_run(session, opened_app, plan)) is not None:
            return status
        words = arbiter_words(session, opened_app, break_glass=break_glass)
        if not yes and not session.sandbox and not typer.confirm(f"Fail over to {to}?"):
            raise NeedsOperator("not confirmed; nothing was done", hint="add --yes")
        failed_at = first_failed_probe(opened_app)
        words += ["--one-step"] if step else []
        return carry_out(session, opened_app, plan, first_failed_at=failed_at, words=words)


@command(app, "run-drill", changes=True)
def run_drill(
    session: Session,
    to: To = None,
    runbook: RunbookName = DEFAULT_RUNBOOK,
    data: Annotated[
        Path | None, typer.Option(help="With --sandbox: your own tree instead of a made one.")
    ] = None,
) -> int:
    """Rehearses the whole recovery in isolation and hands over the evidence."""
    from drkit.cli.repository.backing_up import run_backup
    from drkit.cli.repository.reports import backup_text
    from drkit.cli.runs.planning import show_plan
    from drkit.cli.runs.running import carry_out, plan_lines, plan_run, watch_until_down
    from drkit.units import format_bytes

    if not session.sandbox:
        with opened(session, parts=RUN_PARTS) as opened_app:
            plan = plan_run(opened_app, runbook, kind="drill", target=to)
            if session.dry_run:
                show_plan(session, opened_app.config, plan)
                return 0
            for line in plan_lines(opened_app, plan):
                session.terminal.say(line)
            return carry_out(session, opened_app, plan)
    with sandbox_running(session, servers=not session.dry_run, data=data) as sandbox:
        from drkit.wiring import App

        opened_app = App(sandbox.config, session.root, sandbox=True, emit=session.terminal.emit)
        opened_app.ensure_repository()
        plan = plan_run(opened_app, runbook, kind="drill", target=to)
        if session.dry_run:
            show_plan(session, opened_app.config, plan)
            return 0
        say = session.terminal.say
        say("sandbox: nothing here touches the real deployment, and it counts for nothing real")
        report = run_backup(opened_app)
        say(backup_text(report, format_bytes))
        endpoint = sandbox.start_drill_primary()
        say(f"the drill's copy of {plan.primary} serves at {endpoint.url}; killing it")
        failed_at = watch_until_down(opened_app, endpoint, kill=sandbox.kill_drill_primary)
        say(f"it is DOWN, first seen failing at {failed_at:%H:%M:%S}; the drill begins")
        return carry_out(session, opened_app, plan, first_failed_at=failed_at)
