"""`drkit`: the commands, by group. Imports typer and declarations; bodies import their work."""

from __future__ import annotations

import typer

from drkit.cli.deployment import bootstrap, config, cost, doctor, sandbox
from drkit.cli.repository import (
    backup,
    data,
    deletion,
    erase,
    inspect,
    keys,
    measure,
    repair,
    restore,
    soundness,
)
from drkit.cli.root import new_app
from drkit.cli.runs import failback, recovery, runbook, runs
from drkit.cli.watch import daemon, probe, status, watching, witness

app = new_app()


def _add(panel: str, *groups: typer.Typer, **named: typer.Typer) -> None:
    """Puts groups under one heading of --help; those without a name stand at the top level."""
    for group in groups:
        for each in group.registered_commands:
            each.rich_help_panel = panel
        for below in group.registered_groups:
            below.rich_help_panel = panel
        app.add_typer(group)
    for name, group in named.items():
        app.add_typer(group, name=name, rich_help_panel=panel)


deletion.repair_app.add_typer(repair.app)
_add("Keep", data.app, backup.app, restore.app, soundness.app, deletion.app, erase.app)
_add("Keep", repair=deletion.repair_app, key=keys.app)
_add("Look into the repository", inspect.app, measure.app, keys.tags_app)
_add("Bring the service back", recovery.app, probe.app, failback.app)
_add("Bring the service back", runs=runs.app, runbook=runbook.app)
_add("Bring the service back", sandbox=sandbox.app)
_add(
    "Watch and decide", status.app, watching.app, daemon.app, witness.app, audit=watching.audit_app
)
_add("The deployment", doctor.app, cost.app, bootstrap.app, config=config.app)
