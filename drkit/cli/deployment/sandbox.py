"""`drkit sandbox`: the stand-ins of the rehearsal, started, broken and stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from drkit.cli.apps import sandbox_running
from drkit.cli.options import command
from drkit.cli.session import Session

app = typer.Typer(no_args_is_help=True, help="The embedded stand-ins: up, broken, and down again.")


@command(app)
def up(
    session: Session,
    data: Annotated[Path | None, typer.Option(help="Your own tree for the first source.")] = None,
) -> None:
    """Starts every stand-in and leaves it running."""
    with sandbox_running(session, servers=True, keep=True, data=data) as sandbox:
        rows = sandbox.status()
    session.terminal.table("sandbox", ("name", "address", "state", "pid"), rows)


@command(app)
def down(session: Session) -> None:
    """Stops everything that the sandbox started, targets included; its data stays."""
    with sandbox_running(session, servers=False) as sandbox:
        sandbox.down()
    session.terminal.result("sandbox_down", {}, "the sandbox is down; its data stays")


@command(app)
def status(session: Session) -> None:
    """Says which stand-ins run, and where."""
    with sandbox_running(session, servers=False) as sandbox:
        rows = sandbox.status()
    session.terminal.table("sandbox", ("name", "address", "state", "pid"), rows)


@command(app)
def kill(
    session: Session, site: Annotated[str, typer.Argument(help="A site, such as the primary.")]
) -> None:
    """Kills what runs on a site, without warning."""
    with sandbox_running(session, servers=False) as sandbox:
        sandbox.kill(site)
    session.terminal.result("killed", {"site": site}, f"{site} is gone")


@command(app)
def revive(
    session: Session, site: Annotated[str, typer.Argument(help="The primary's site.")]
) -> None:
    """Brings the primary's server back, as it was before it was killed."""
    with sandbox_running(session, servers=False) as sandbox:
        sandbox.revive(site)
    session.terminal.result("revived", {"site": site}, f"{site} answers again")


@command(app)
def reset(session: Session) -> None:
    """Stops the sandbox and deletes its folder, repositories included."""
    with sandbox_running(session, servers=False) as sandbox:
        sandbox.down()
        sandbox.reset()
    session.terminal.result("sandbox_reset", {}, "the sandbox and its data are gone")
