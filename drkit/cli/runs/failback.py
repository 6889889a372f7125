"""`drkit failback`: the planned way home. Only ever typed; nothing starts it by itself (R12)."""

from __future__ import annotations

from typing import Annotated

import typer

from drkit.cli.options import command
from drkit.cli.session import Session

app = typer.Typer()


@command(app, changes=True)
def failback(
    session: Session,
    runbook: Annotated[
        str, typer.Option("--runbook", help="A file in the runbooks folder.")
    ] = "failback",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> int:
    """Brings the service home: proves the primary, moves traffic there, gives the target back."""
    from drkit.cli.runs.executing import execute_named

    return execute_named(session, runbook, to=None, yes=yes, kind="failback")
