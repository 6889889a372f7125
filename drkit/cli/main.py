"""`drkit`: the commands, by group. Imports typer and declarations; bodies import their work."""

from __future__ import annotations

import gc
from typing import Annotated

import typer

from drkit.cli import (
    backup,
    bootstrap,
    config,
    cost,
    daemon,
    data,
    deletion,
    doctor,
    inspect,
    keys,
    measure,
    recovery,
    repair,
    restore,
    runbook,
    sandbox,
    soundness,
    watching,
    witness,
)

app = typer.Typer(
    name="drkit",
    help="Disaster recovery and backup for self-hosted LLM stacks. "
    "Start with: drkit run-drill --sandbox",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 done, 1 bug, 2 usage or configuration, 3 done in part, "
    "10 no repository, 11 locked, 12 wrong key, 20 place unreachable, 21 RPO broken, "
    "22 verification failed, 23 drill failed, 24 guard rail refused, 25 needs an operator, "
    "26 no capacity, 130 interrupted.",
)


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
_add("Keep", data.app, backup.app, restore.app, soundness.app, deletion.app)
_add("Keep", repair=deletion.repair_app, key=keys.app)
_add("Look into the repository", inspect.app, measure.app, keys.tags_app)
_add("Bring the service back", recovery.app, runbook=runbook.app, sandbox=sandbox.app)
_add("Watch and decide", watching.app, daemon.app, witness.app, audit=watching.audit_app)
_add("The deployment", doctor.app, cost.app, bootstrap.app, config=config.app)


def _print_version(wanted: bool) -> None:
    if wanted:
        from drkit import __version__

        typer.echo(f"drkit {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """The `drkit` program: ends with the exit status."""
    # a command makes many values and few cycles: looking for these cost a tenth of its time
    gc.set_threshold(100_000, 20, 20)
    app(prog_name="drkit")
