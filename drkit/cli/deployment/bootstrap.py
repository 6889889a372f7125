"""`drkit bootstrap`: the first thing that runs on a new machine. It knows no configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from drkit.cli.options import command
from drkit.cli.session import Session

app = typer.Typer()


@command(app)
def bootstrap(
    session: Session,
    server: Annotated[list[str], typer.Argument(help="What to become then, after --.")],
    ticket: Annotated[Path, typer.Option(help="Where the ticket will be.")],
    into: Annotated[Path, typer.Option(help="The folder of the weights.")],
    wait: Annotated[float, typer.Option(help="Most seconds to wait for the ticket.")] = 1800.0,
) -> None:
    """Fetches the weights that a ticket names, checks every byte, then becomes the server."""
    import os

    from drkit.clock import SystemClock
    from drkit.errors import ConfigError
    from drkit.mirror.bootstrap import TICKET_KEY_VARIABLE, fetch_by_ticket, read_ticket_key

    key = read_ticket_key(os.environ.get(TICKET_KEY_VARIABLE))
    emit = session.terminal.emit
    report = fetch_by_ticket(ticket, into, key, wait_s=wait, clock=SystemClock(), emit=emit)
    session.terminal.result(
        "fetched",
        {"files": report.files, "bytes": report.bytes},
        f"{report.files} files are in {into}; becoming {server[0]}",
    )
    session.terminal.close()
    environment = {name: os.environ[name] for name in os.environ if name != TICKET_KEY_VARIABLE}
    try:
        os.execvpe(server[0], server, environment)  # noqa: S606 - the pid must stay
    except OSError as error:
        raise ConfigError(
            f"cannot become {server[0]}: {error.strerror}", hint="is the program installed here?"
        ) from error
