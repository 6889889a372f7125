"""`drkit config`: is schedules.yaml right, what does it mean with every default, its schema."""

from __future__ import annotations

import typer

from drkit.cli.options import command
from drkit.cli.session import Session

app = typer.Typer(no_args_is_help=True, help="The deployment in schedules.yaml: is it right?")


@command(app)
def validate(session: Session) -> int:
    """Says whether the file is right; if not, every problem with its line. Resolves no secret.

    Its runbooks are checked too: 2 when one may not be relied on.
    """
    from drkit.cli.deployment.within import kept_again
    from drkit.cli.runs.runbook import checked, refusals, tell_missing

    config = session.load_config()
    for note in kept_again(config, session.root):
        session.terminal.emit(note)
    found = checked(session, config, [])
    missing = tell_missing(session, config, found)
    warned = sum(finding.level == "warn" for one in found for finding in one.findings)
    counts = {
        "stores": len(config.stores),
        "sources": len(config.sources),
        "sites": len(config.sites),
        "targets": len(config.targets),
        "schedules": len(config.schedules),
        "runbooks": len(found),
    }
    words = ", ".join(f"{count} {name}" for name, count in counts.items())
    if refused := refusals(session, found):
        return refused
    more = f"; {warned} warning{'s' * (warned > 1)}: drkit runbook check" if warned else ""
    session.terminal.result(
        "config_valid",
        {
            "config": str(session.config_path),
            **counts,
            "runbook_warnings": warned,
            "runbooks_missing": missing,
        },
        f"{session.config_path} is right: {words}{more}",
    )
    return 0


@command(app)
def show(session: Session) -> None:
    """Prints the deployment with every default, and with --sandbox its stand-ins; no secret."""
    from drkit.config.load import render_shown, shown_values

    config = session.load_config()
    if session.sandbox:
        from drkit.standins.supervisor import Sandbox

        config = Sandbox(config, session.state_dir.resolve() / "sandbox").config
    session.terminal.result(
        "config", {"config": shown_values(config)}, render_shown(config).rstrip()
    )


@command(app)
def schema(session: Session) -> None:
    """Prints the JSON Schema of the file, for editors."""
    import json

    from drkit.config.load import config_schema

    values = config_schema()
    session.terminal.result("config_schema", {"schema": values}, json.dumps(values, indent=2))
