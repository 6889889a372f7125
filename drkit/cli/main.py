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
# Without a name a module's commands stand at the top: `drkit backup`.
app.add_typer(data.app)
app.add_typer(restore.app)
app.add_typer(backup.app)
app.add_typer(inspect.app)
app.add_typer(measure.app)
app.add_typer(keys.app, name="key")
app.add_typer(keys.tags_app)
app.add_typer(soundness.app)
app.add_typer(deletion.app)
deletion.repair_app.add_typer(repair.app)
app.add_typer(deletion.repair_app, name="repair")
app.add_typer(recovery.app)
app.add_typer(watching.app)
app.add_typer(watching.audit_app, name="audit")
app.add_typer(cost.app)
app.add_typer(doctor.app)
app.add_typer(daemon.app)
app.add_typer(config.app, name="config")
app.add_typer(runbook.app, name="runbook")
app.add_typer(sandbox.app, name="sandbox")
app.add_typer(bootstrap.app)


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
