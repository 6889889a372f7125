"""`drkit status`: are we safe, who serves, who leads, and what if the primary died now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from drkit.cli.apps import opened
from drkit.cli.options import command
from drkit.cli.session import Session
from drkit.errors import DrkitError

if TYPE_CHECKING:
    from drkit.operations.status.forecast import Forecast
    from drkit.operations.status.service_status import ServiceStatus
    from drkit.operations.status.status import Status
    from drkit.wiring import App

app = typer.Typer()


@command(app)
def status(session: Session) -> int:
    """Says who serves, what would be lost now, how old the proof is, and what would happen if
    the primary died.
    """
    with opened(session) as opened_app:
        found = _stores(session, opened_app)
        waits = _service(session, opened_app, found)
        overdue = _drills(session, opened_app, found)
        proof_limit_s = opened_app.config.objectives.proof_max_age
    causes = [*_causes(found, proof_limit_s, overdue), *((25, why) for why in waits)]
    code = causes[0][0] if causes else 0
    values = {"status": code, "causes": [{"status": each, "why": why} for each, why in causes]}
    session.terminal.result("verdict", values, "\n".join(why for _, why in causes))
    return code


def _causes(found: Status, proof_limit_s: float, overdue: str | None) -> Iterator[tuple[int, str]]:
    """Exit statuses and why, the first of which decides: of what the stores said, and of drills."""
    from drkit.units import format_duration

    ages = [age for age in found.proof_age_s.values() if age is not None]
    if ages and min(ages) > proof_limit_s:
        allowed = format_duration(proof_limit_s)
        yield 22, f"PROOF TOO OLD: {format_duration(min(ages))}, {allowed} allowed; drkit run-drill"
    if overdue:
        yield 23, overdue
    if found.rpo_broken:
        names = ", ".join(found.rpo_broken)
        yield 21, f"RPO BROKEN: no store has {names} within the limit; drkit backup"
    for held in found.unacknowledged:
        yield 25, f"ANOMALY: point {held[:8]}; nothing expires until: drkit ack"


def _stores(session: Session, app: App) -> Status:
    """What each store holds, and how they stand to each other."""
    from drkit.cli.repository.reports import prune_standing, standing_rows, status_rows
    from drkit.cli.repository.turns import tell_all_turns
    from drkit.operations.status.standing import standings_of
    from drkit.operations.status.status import status_of
    from drkit.points.find import list_points

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
    standings = standings_of(
        app.repository, {name: store.role for name, store in app.config.stores.items()}
    )
    columns = ("source", "store", "lost_if_only_this_is_left", "limit", "proved")
    session.terminal.table("source_status", columns, status_rows(found))
    store_columns, store_rows, prune_words = standing_rows(standings)
    session.terminal.table("store_status", store_columns, store_rows)
    if prune_words:
        session.terminal.result("prune_status", prune_standing(standings), "\n".join(prune_words))
    tell_all_turns(session, app)
    if not found.points:
        session.terminal.say("no point yet: drkit backup")
    return found


def _service(session: Session, app: App, found: Status) -> list[str]:
    """The service, where one is watched; what waits for an operator."""
    from drkit.cli.watch.around import show_standing_alerts
    from drkit.cli.watch.watching import decision_values, decision_words
    from drkit.coordination.decision import DecisionState
    from drkit.events import Note
    from drkit.health.interface import ServiceState
    from drkit.operations.status.forecast import forecast_words
    from drkit.operations.status.service_status import service_words
    from drkit.runs.records import RunState
    from drkit.wiring.status import service_forecast, service_status

    if app.config.service is None or app.primary is None:
        return []
    try:
        service = service_status(app)
        forecast = service_forecast(app, found, service)
    except DrkitError as error:  # what the stores said stands all the same
        app.emit(Note("error", "service", f"{error.message}; {error.hint}"))
        return []
    words = "\n".join(service_words(service, app.clock.now()))
    session.terminal.result("service_status", service_values(service, app), words)
    show_standing_alerts(session, app)
    if session.json_lines:
        columns = ("at", "before", "after", "why")
        rows = [{**asdict(change), "at": change.at.isoformat()} for change in service.changes]
        session.terminal.table("health_change", columns, rows)
    if service.decision is not None:
        shown = decision_values(service.decision), decision_words(service.decision)
        session.terminal.result("decision", *shown)
    down = service.health.state is ServiceState.DOWN
    session.terminal.result(
        "forecast", forecast_values(forecast), forecast_words(forecast, down=down)
    )
    stuck = (RunState.NEEDS_OPERATOR, RunState.ROLLBACK_FAILED)
    run, decision = service.open_run, service.decision
    waits = []
    if decision is not None and decision.decision.state is DecisionState.WAIT_APPROVAL:
        waits.append(f"WAITS: {service.service} is down; drkit approve")
    if run is not None and run.state in stuck:
        waits.append(f"WAITS: run {run.id} is {run.state.value}; drkit runs show {run.id}")
    return waits


def _drills(session: Session, app: App, found: Status) -> str | None:
    """When a drill last passed; why status is red if the next one is overdue."""
    from drkit.events import Note
    from drkit.wiring.status import drills_standing

    try:
        drills = drills_standing(app, found)
    except DrkitError as error:
        app.emit(Note("error", "drills", f"{error.message}; {error.hint}"))
        return None
    if drills is None:
        return None
    now = app.clock.now()
    values = {
        "last_passed_at": drills.last_at.isoformat() if drills.last_at else None,
        "run": drills.run_id,
        "due_at": drills.due_at.isoformat(),
        "overdue_s": drills.overdue_s(now),
    }
    session.terminal.result("drill_status", values, drills.words(now))
    return drills.cause(now)


def service_values(status: ServiceStatus, app: App) -> dict[str, Any]:
    role, now = status.role.role, app.clock.now()
    leads = status.leader if status.leader and status.leader.left_s > 0 else None
    return {
        "service": status.service,
        "site": status.site,
        "endpoint": status.endpoint_url,
        "epoch": role.epoch if role else 0,
        "since": role.since.isoformat() if role else None,
        "recorded_by": role.run_id if role else None,
        "role_unconfirmed": status.role.unconfirmed,
        "role_age_s": status.role.age_s(now),
        "leader": leads.holder if leads else None,
        "arbiter": status.arbiter,
        "arbiter_proved_at": status.proof.at.isoformat() if status.proof else None,
        "state": status.health.state.value,
        "flapping": status.health.flapping,
        "blind": status.health.blind,
        "hold": status.hold.phase.value if status.hold else None,
        "paused_until": status.pause.until.isoformat() if status.pause else None,
        "cooldown_left_s": status.cooldown_left_s,
        "open_run": status.open_run.id if status.open_run else None,
        "witnesses": {heard.witness: heard.voice.value for heard in status.heard},
        "standbys": {
            proof.target: {"age_s": proof.age_s(now), "fails": proof.fails}
            for proof in status.standbys
        },
        "machines": [
            {**asdict(machine), "since": machine.since.isoformat()} for machine in status.machines
        ],
        "mode": status.mode,
        "not_auto": list(status.not_auto),
    }


def forecast_values(said: Forecast) -> dict[str, Any]:
    values = asdict(said)
    if said.measured is not None:
        values["measured"]["at"] = said.measured.at.isoformat()
    return values
