"""`drkit probe`: one round of the watch, and what follows from it."""

from __future__ import annotations

from typing import Annotated

import typer

from drkit.cli.apps import opened
from drkit.cli.options import command
from drkit.cli.session import Session

app = typer.Typer()


@command(app)
def probe(
    session: Session,
    due: Annotated[
        bool,
        typer.Option("--due", help="Around the server, only what was not looked at just now."),
    ] = False,
) -> int:
    """Asks the server that serves now, by address, whether it is alive; knows former rounds.

    A service that is suspected is asked again until it is well or DOWN. What follows is done by
    who leads: a daemon, or this command if no daemon does. Shows what lies around it and what is
    measured too, and tells alerts.
    """
    from drkit.cli.watch.after_round import follow
    from drkit.cli.watch.around import show_round
    from drkit.cli.watch.watching import decision_values, decision_words
    from drkit.health.interface import ServiceState
    from drkit.wiring.watch import make_round

    with opened(session, parts=("service",)) as opened_app:
        role, watched = make_round(opened_app)
        followed = follow(session, opened_app, watched, role)
        decision = followed.decision
        tells = followed.not_led is None or role.unconfirmed is not None
        show_round(session, opened_app, watched, everything=not due, tells=tells)
    for change in watched.changes:
        session.terminal.say(change)
    if decision is not None:
        session.terminal.result("decision", decision_values(decision), decision_words(decision))
    if followed.not_led is not None:
        session.terminal.say(f"nothing follows from it here: {followed.not_led}")
    alive = watched.observation.alive
    state = watched.health.state
    session.terminal.result(
        "health",
        {"site": watched.site, "endpoint": watched.endpoint.url}
        | {"alive": alive, "state": state.value}
        | {"role_unconfirmed": role.unconfirmed, **followed.values()},
        f"{watched.site} at {watched.endpoint.url} is {'alive' if alive else 'NOT alive'}; "
        f"the service is {state.value}",
    )
    return 0 if alive and state is not ServiceState.DOWN else 20
