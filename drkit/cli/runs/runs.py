"""`drkit runs`: what runs did, looking on, and saying what is to become of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from drkit.cli.apps import check_credentials, opened, run_parts
from drkit.cli.options import BreakGlass, command
from drkit.cli.session import Session

if TYPE_CHECKING:
    from drkit.runs.records import RunRecord

app = typer.Typer(no_args_is_help=True, help="Runs: what they did, and what is to become of one.")
RUN_PARTS = ("stores", "repository", "service", "targets", "switch", "arbiter")

Run = Annotated[str, typer.Argument(help='An id, its start, or "latest".')]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@command(app, "list")
def list_runs(
    session: Session,
    remote: Annotated[
        bool, typer.Option("--remote", help="Those that the stores know, of any machine.")
    ] = False,
) -> None:
    """Lists all runs, newest first."""
    from drkit.wiring.run import open_journal, runs_in_stores

    with opened(session, parts=("stores", "repository") if remote else ()) as opened_app:
        runs = runs_in_stores(opened_app) if remote else open_journal(opened_app).runs()
    columns = ("id", "kind", "target", "state", "outcome", "created", "machine")
    session.terminal.table("run", columns, [_row(run) for run in runs])


def _row(run: RunRecord) -> dict[str, Any]:
    return {
        "id": run.id,
        "kind": run.kind,
        "target": run.target,
        "state": run.state.value,
        "outcome": run.outcome or "",
        "created": f"{run.created_at:%Y-%m-%d %H:%M:%S}",
        "machine": f"{run.machine or ''}{' (local only)' if run.local_only else ''}",
    }


@command(app)
def show(session: Session, run: Run = "latest") -> None:
    """Shows a run and its journal."""
    from drkit.cli.runs.following import entry_line
    from drkit.wiring.run import open_journal

    with opened(session, parts=()) as opened_app:
        journal = open_journal(opened_app)
        record = journal.run(run)
        entries = journal.entries(record.id)
    _tell_run(session, record)
    for entry in entries:
        session.terminal.result(
            "entry",
            {
                "seq": entry.seq,
                "at": entry.at.isoformat(),
                "elapsed_s": entry.elapsed_s,
                "step": entry.step,
                "attempt": entry.attempt,
                "kind": entry.kind,
                "payload": entry.payload,
            },
            entry_line(entry),
        )


def _tell_run(session: Session, record: RunRecord) -> None:
    session.terminal.result(
        "run",
        {
            "id": record.id,
            "kind": record.kind,
            "service": record.service,
            "target": record.target,
            "state": record.state.value,
            "outcome": record.outcome,
            "plan_checksum": record.plan_checksum,
            "epoch": record.epoch,
            "sandbox": record.sandbox,
            "opened_by": record.opened_by,
            "unattended": record.unattended,
            "asked": record.asked.what if record.asked else None,
            "machine": record.machine,
            "generation": record.generation,
            "local_only": record.local_only,
        },
        f"{record.id}: {record.kind} of {record.service} to {record.target}: "
        f"{record.state.value}{f', {record.outcome}' if record.outcome else ''}\n"
        f"plan {record.plan_checksum}"
        f"{f', opened by {record.opened_by}' if record.opened_by else ''}"
        f"{', unattended' if record.unattended else ''}",
    )


@command(app)
def attach(session: Session, run: Run = "latest") -> int:
    """Looks on at a run, from its first line on. Ctrl-C ends the looking, not the run."""
    from drkit.cli.runs.following import attach as look_on
    from drkit.wiring.run import open_journal

    with opened(session, parts=("stores", "repository")) as opened_app:
        journal = open_journal(opened_app)
        return look_on(session, opened_app, journal, journal.run(run).id)


@command(app)
def resume(
    session: Session,
    run: Run = "latest",
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Also a run that is another machine's now.")
    ] = False,
    break_glass: BreakGlass = False,
) -> int:
    """Goes on with a run that stopped, here or elsewhere; it looks first, does nothing twice."""
    from drkit.cli.runs.steering import go_on

    with opened(session, servers=True, keep_servers=True, parts=RUN_PARTS) as opened_app:
        return go_on(session, opened_app, run, take_over=take_over, break_glass=break_glass)


@command(app)
def step(session: Session, run: Run = "latest") -> int:
    """Does one more step of a run, or undoes one of a rollback, and waits again."""
    from drkit.cli.runs.steering import one_step

    with opened(session, servers=True, keep_servers=True, parts=RUN_PARTS) as opened_app:
        return one_step(session, opened_app, run)


@command(app, changes=True)
def approve(
    session: Session,
    run: Run = "latest",
    step: Annotated[
        str | None, typer.Option("--step", help="One step; default: all that wait.")
    ] = None,
) -> int:
    """Lets a step begin that waits for approval, and goes on with the run."""
    from drkit.cli.runs.steering import approve_steps

    with opened(session, servers=True, keep_servers=True, parts=RUN_PARTS) as opened_app:
        return approve_steps(session, opened_app, run, step)


@command(app, changes=True)
def abort(session: Session, run: Run = "latest") -> int:
    """Stops a run where it is. Nothing is undone; it waits for what you say next."""
    from drkit.cli.runs.steering import abort_run

    with opened(session, parts=("stores", "repository")) as opened_app:
        return abort_run(session, opened_app, run)


@command(app, changes=True)
def skip(
    session: Session,
    step: Annotated[str, typer.Argument(help="The step to go on without.")],
    reason: Annotated[str, typer.Option("--reason", help="For whoever reads the evidence.")],
    run: Annotated[str, typer.Option("--run", help='An id, its start, or "latest".')] = "latest",
) -> None:
    """Has a run go on without a step when it is resumed; refused where proof would be lacking."""
    from drkit.cli.runs.steering import skip_named

    with opened(session, parts=("stores", "repository")) as opened_app:
        skip_named(session, opened_app, run, step, reason)


@command(app, changes=True)
def rollback(
    session: Session,
    run: Run = "latest",
    yes: Yes = False,
    leave_behind: Annotated[
        str | None,
        typer.Option("--leave-behind", metavar="WHY", help="End it, whatever cannot be undone."),
    ] = None,
) -> int:
    """Undoes what a run began, in reverse, and looks for what is left."""
    from drkit.cli.runs.steering import roll_back

    with opened(session, servers=True, keep_servers=True, parts=RUN_PARTS) as opened_app:
        return roll_back(session, opened_app, run, yes=yes, leave=leave_behind)


@command(app, changes=True)
def retarget(
    session: Session,
    to: Annotated[str, typer.Option("--to", help="The new target, by its name.")],
    run: Run = "latest",
    yes: Yes = False,
) -> int:
    """Leads an open run to another target: gives back what it took, keeps what it restored."""
    from drkit.cli.runs.steering import lead_elsewhere

    with opened(session, servers=True, keep_servers=True, parts=RUN_PARTS) as opened_app:
        return lead_elsewhere(session, opened_app, run, to, yes=yes)


@command(app, hidden=True)
def execute(
    session: Session,
    run: Annotated[str, typer.Argument()],
    one_step: Annotated[bool, typer.Option("--one-step")] = False,
    break_glass: Annotated[bool, typer.Option("--break-glass")] = False,
) -> int:
    """Executes a run in this process; the commands that start or steer a run start it."""
    from drkit.runs.actions.catalog import ACTIONS
    from drkit.runs.engine import execute as execute_run
    from drkit.wiring.run import conclude, open_journal, run_context

    with opened(session, parts=()) as opened_app:
        journal = open_journal(opened_app)
        while True:
            before = journal.run(run)
            check_credentials(session, opened_app, run_parts(before.target))
            context = run_context(opened_app, journal, run, break_glass=break_glass)
            record = execute_run(journal, run, ACTIONS, context, one_step=one_step)
            if record.plan_checksum == before.plan_checksum:
                break  # else it was led elsewhere, and goes on there
        if record.state.ended:
            conclude(opened_app, journal, record)
    return 0 if record.state.ended else 25
