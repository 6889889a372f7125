"""The commands that begin: init, and the points there are."""

from __future__ import annotations

from typing import Annotated

import typer

from drkit.cli.apps import opened
from drkit.cli.options import command
from drkit.cli.session import Session

app = typer.Typer()


@command(app)
def init(
    session: Session,
    store: Annotated[
        str | None, typer.Option(help="Join this empty store to the repository of the others.")
    ] = None,
) -> None:
    """Creates the repository in every store, or joins one store to it. Never rewrites one.

    Where a service is watched, the arbiter is first seen comparing before it writes.
    Without a schedules.yaml it asks for one first, on a terminal.
    """
    from drkit.cli.repository.dialogue import write_first_config
    from drkit.repository.repository import init_repository, join_store
    from drkit.wiring.arbiter import leans_on_arbiter, prove_arbiter

    if store is None and not session.sandbox:
        write_first_config(session)
    with opened(session) as app:
        if store is not None:
            joined = join_store(app.stores, app.store(store), app.password)
            how = "has joined; it catches up at the next backup"
            said = f"{store} {how if joined else 'holds it already; nothing was done'}"
            session.terminal.result("joined", {"store": store, "joined": joined}, said)
            return
        proof = prove_arbiter(app) if leans_on_arbiter(app) else None
        report = init_repository(app.stores, app.password, clock=app.clock, hostname=app.hostname)
        words = [f"repository {report.repository_id[:8]}"]
        words += ["finished an init that was cut short"] if report.finished else []
        words += [f"created in {', '.join(report.created)}"] if report.created else []
        words += [f"already in {', '.join(report.already)}"] if report.already else []
        words += [f"arbiter: {proof.place}: {proof.seen}"] if proof else []
        session.terminal.result(
            "initialized",
            {
                "repository": report.repository_id,
                "created": report.created,
                "already": report.already,
                "finished": report.finished,
                "arbiter": {"place": proof.place, "seen": proof.seen} if proof else None,
            },
            "; ".join(words),
        )


@command(app)
def points(session: Session) -> None:
    """Lists the recovery points: what each holds, of when, and where."""
    from drkit.points.find import list_points
    from drkit.units import format_bytes

    with opened(session) as app:
        rows = [
            {
                "id": found.id if session.json_lines else found.id[:8],
                "created": f"{found.point.created_at:%Y-%m-%d %H:%M:%S}",
                "epoch": found.point.epoch,
                "complete": "yes" if found.point.complete else "NO",
                "sources": ",".join((*found.point.sources, *found.point.weights)),
                "size": format_bytes(sum(part.bytes for part in found.point.sources.values())),
                "stores": ",".join(sorted(found.listed.stores)),
            }
            for found in list_points(app.repository)
        ]
    columns = ("id", "created", "epoch", "complete", "sources", "size", "stores")
    session.terminal.table("point", columns, rows)
