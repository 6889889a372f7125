"""`drkit runbook`: what a runbook may hold."""

from __future__ import annotations

import typer

from drkit.cli.options import Session, command

app = typer.Typer(no_args_is_help=True, help="The procedures in the folder `runbooks`.")


@app.callback()
def _group() -> None:
    """A group of its own, though it has one command yet."""


@command(app)
def schema(session: Session) -> None:
    """Prints the JSON Schema of a runbook, for editors."""
    import json

    from drkit.runs.schema import runbook_schema

    values = runbook_schema()
    session.terminal.result("runbook_schema", {"schema": values}, json.dumps(values, indent=2))
