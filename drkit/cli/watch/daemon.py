"""`drkit daemon`: runs the schedules until it is stopped."""

from __future__ import annotations

import typer

from drkit.cli.apps import opened
from drkit.cli.options import command
from drkit.cli.session import Session

app = typer.Typer()


@command(app)
def daemon(session: Session) -> None:
    """Runs the schedules until SIGTERM or Ctrl-C; each job is a command with a deadline.

    Of several daemons on one arbiter one leads and runs everything; the others probe, and take
    over when it is gone.
    """
    from drkit.clock import SystemClock
    from drkit.errors import ConfigError
    from drkit.events import Note
    from drkit.operations.watch.decide import lacks_for_auto
    from drkit.service.commands import launcher, status_reader
    from drkit.service.daemon import Daemon
    from drkit.service.jobs import plan_jobs
    from drkit.service.leading import Leading
    from drkit.wiring.leading import open_leadership, tell_position

    with opened(session, servers=True) as opened_app:
        jobs, left_out = plan_jobs(opened_app.config.schedules)
        if not jobs:
            raise ConfigError(
                f"{session.config_path} schedules nothing that this version can run",
                hint="add a job to `schedules`, such as {run: backup, every: 30m}",
            )
        if lacking := lacks_for_auto(opened_app.config):
            text = f"mode auto asks a person all the same: {'; '.join(lacking)}"
            session.terminal.emit(Note("warning", "decide", text))
        folder, clock = opened_app.state_dir / "daemon", SystemClock()
        leading = Leading(open_leadership(opened_app), lambda now: tell_position(opened_app, now))
        Daemon(
            jobs,
            left_out,
            launch=launcher(session.config_path, sandbox=session.sandbox, leading=leading),
            leading=leading,
            folder=folder,
            clock=clock,
            emit=session.terminal.emit,
            read_cuts=status_reader(
                session.config_path,
                folder,
                sandbox=session.sandbox,
                clock=clock,
                emit=session.terminal.emit,
            ),
            rpo_s={
                name: source.rpo_min * 60 if source.rpo_min else None
                for name, source in opened_app.config.sources.items()
            },
        ).run()
