"""The commands that keep data: init, backup, points, restore, status."""

from __future__ import annotations

from typing import Annotated

import typer

from drkit.cli.apps import opened
from drkit.cli.options import Session, command

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
    from drkit.cli.dialogue import write_first_config
    from drkit.repository.repository import init_repository, join_store
    from drkit.wiring.arbiter import leans_on_arbiter, prove_arbiter

    if store is None and not session.sandbox:
        write_first_config(session)
    with opened(session) as app:
        if store is not None:
            join_store(app.stores, app.store(store), app.password)
            session.terminal.result(
                "joined", {"store": store}, f"{store} has joined; it catches up at the next backup"
            )
            return
        proof = prove_arbiter(app) if leans_on_arbiter(app) else None
        report = init_repository(app.stores, app.password, clock=app.clock, hostname=app.hostname)
        words = [f"repository {report.repository_id[:8]}"]
        words += ["finished an init that was cut short"] if report.finished else []
        words += [f"created in {', '.join(report.created)}"] if report.created else []
        words += [f"already in {', '.join(report.already)}"] if report.already else []
        words += [f"arbiter: {proof.seen}"] if proof else []
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


@command(app)
def status(session: Session) -> int:
    """Says, from the stores themselves, how much would be lost now and how old the proof is."""
    from drkit.cli.reports import standing_rows, status_rows
    from drkit.operations.standing import standings_of
    from drkit.operations.status import status_of
    from drkit.points.find import list_points

    with opened(session) as app:
        limits = {
            name: source.rpo_min * 60 if source.rpo_min else None
            for name, source in app.config.sources.items()
        }
        found = status_of(
            app.repository,
            list_points(app.repository),
            limits,
            app.clock.now(),
            mirrors={name: source.stores for name, source in app.weights_sources.items()},
        )
        proof_limit_s = app.config.objectives.proof_max_age
        standings = standings_of(
            app.repository, {name: store.role for name, store in app.config.stores.items()}
        )
    columns = ("source", "store", "lost_if_only_this_is_left", "limit", "proved")
    session.terminal.table("source_status", columns, status_rows(found))
    store_columns, store_rows, prune_words = standing_rows(standings)
    session.terminal.table("store_status", store_columns, store_rows)
    for words in prune_words:
        session.terminal.say(words)
    if not found.points:
        session.terminal.say("no point yet: drkit backup")
    ages = [age for age in found.proof_age_s.values() if age is not None]
    for held in found.unacknowledged:
        session.terminal.say(f"ANOMALY: point {held[:8]}; nothing expires until: drkit ack")
    if ages and min(ages) > proof_limit_s:
        return 22
    if found.rpo_broken:
        return 21
    return 25 if found.unacknowledged else 0
