"""Opens the deployment for a command: the real one, or its sandbox with the stand-ins running."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from drkit.cli.errors import Detached
from drkit.cli.session import Session

if TYPE_CHECKING:
    from drkit.standins.supervisor import Sandbox
    from drkit.wiring import App

DATA_PARTS = ("stores", "repository", "sources", "arbiter")


def run_parts(target: str) -> tuple[str, ...]:
    """What a run that leads to `target` signs in to; other targets' credentials may be missing."""
    from drkit.runs.records import EXTERNAL

    own = () if target == EXTERNAL else (f"targets.{target}",)
    return ("stores", "repository", "service", *own, "switch", "arbiter")


def check_credentials(session: Session, app: App, parts: tuple[str, ...]) -> None:
    """Raises `MissingCredential` for what is referred to in `parts` and is not there. The sandbox
    refers to nothing of the real deployment.
    """
    from drkit.config.secret_refs import check_references, references

    if not session.sandbox:
        check_references(references(app.config, only=parts), app.secrets.missing)


@contextmanager
def opened(
    session: Session,
    *,
    servers: bool = False,
    keep_servers: bool = False,
    data: Path | None = None,
    parts: tuple[str, ...] = DATA_PARTS,
) -> Iterator[App]:
    """The deployment, after its credentials in `parts` were found to be there.

    In the sandbox, `servers` starts the stand-ins when none run, and stops them at the end.
    """
    from drkit.config.secret_refs import check_references, references
    from drkit.wiring import App

    config = session.load_config()
    if not session.sandbox:
        app = App(
            config,
            session.root,
            sandbox=False,
            emit=session.terminal.emit,
            retry_lock_s=session.retry_lock_s,
        )
        check_references(references(config, only=parts), app.secrets.missing)
        yield app
        return
    with sandbox_running(session, servers=servers, keep=keep_servers, data=data) as sandbox:
        app = App(
            sandbox.config,
            session.root,
            sandbox=True,
            emit=session.terminal.emit,
            retry_lock_s=session.retry_lock_s,
        )
        app.ensure_repository()
        yield app


@contextmanager
def sandbox_running(
    session: Session, *, servers: bool, keep: bool = False, data: Path | None = None
) -> Iterator[Sandbox]:
    """The sandbox of the deployment; processes that were started here are stopped at the end."""
    from drkit.events import Note
    from drkit.sandbox.guard import refuse_beyond_loopback
    from drkit.standins.supervisor import Sandbox

    config = session.load_config()
    root = (session.state_dir / "sandbox").resolve()
    refuse_beyond_loopback()
    sandbox = Sandbox(config, root)
    session.state_dir = root
    if not servers:
        sandbox.prepare(data)
        yield sandbox
        return
    was_up = sandbox.is_up()
    if not was_up:
        session.terminal.emit(Note("info", "sandbox", "prepares the sources, starts the stand-ins"))
    try:
        sandbox.up(data)
        yield sandbox
    except Detached:
        keep = True  # its run goes on
        raise
    finally:
        if not (was_up or keep):
            sandbox.down()
