"""The watch and its decisions, built for the deployment."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from drkit.compute.interface import Endpoint
from drkit.config.places import Service
from drkit.coordination.decision import Facts
from drkit.coordination.decisions import Decisions
from drkit.errors import ConfigError
from drkit.health.interface import ServiceHealth
from drkit.health.probes.reference import reach
from drkit.health.record import health_from
from drkit.health.witness.asking import Heard
from drkit.health.witness.file_memory import FileMemory
from drkit.operations.roles import SeenRole, last_site, machine_memory, read_role
from drkit.operations.watch import decide
from drkit.operations.watch.decide import Elsewhere, facts_now
from drkit.operations.watch.standby import StandbyProof, last_proof, verify_standby
from drkit.operations.watch.telling import tell_runs
from drkit.operations.watch.watch import Watch, Watched
from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.book.plan import asks_a_person as runbook_asks
from drkit.runs.book.schema import load_runbook
from drkit.runs.journal.journal import Journal
from drkit.state.database import StateUnavailable
from drkit.state.health_log import HealthLog
from drkit.wiring.app import App, parse_endpoint


def service_of(app: App) -> Service:
    """The service that is watched. ConfigError when there is none."""
    if app.config.service is None:
        raise ConfigError(
            "schedules.yaml describes no service to watch", hint="add its `service` section"
        )
    return app.config.service


def own_memory(app: App) -> FileMemory:
    return machine_memory(app.state_dir)


def role_now(app: App) -> SeenRole:
    """Who serves, by the role record, or by the last one read while the arbiter is away."""
    service = service_of(app)
    memory = own_memory(app)
    return read_role(app.arbiter, service.name, memory, app.clock, primary=service.primary)


def serving(app: App, seen: SeenRole | None = None) -> tuple[str, Endpoint]:
    """Site and endpoint that serve now, by the role record (R2)."""
    service = service_of(app)
    if app.primary is None:
        raise ConfigError(
            "schedules.yaml names no endpoint to probe",
            hint="add `service`, and `endpoint` to its primary site",
        )
    role = (seen or role_now(app)).role
    if role and role.endpoint_url:
        return role.site, parse_endpoint(role.endpoint_url)
    return service.primary, app.primary


def open_watch(app: App) -> Watch:
    """The watch of the service by this machine. ConfigError when there is none."""
    service = service_of(app)
    return Watch(
        service=service.name,
        model=service.model,
        primary=service.primary,
        probe=app.config.probe,
        decide=app.config.decide,
        prober=app.prober,
        reach=reach,
        memory=own_memory(app),
        clock=app.clock,
    )


def make_round(app: App) -> tuple[SeenRole, Watched]:
    """One round of the watch against who serves now, after the table was told what runs did.

    It is made without the state database too, which may be where the arbiter lies (R1).
    """
    service, role = service_of(app), role_now(app)
    site, endpoint = serving(app, role)
    told: tuple[str, ...] = ()
    with suppress(StateUnavailable):
        told = tell_runs(
            own_memory(app),
            service.name,
            open_run=Journal(app.database, app.clock).open_run_of(service.name, "production"),
            role=role.role,
            primary=service.primary,
            probe=app.config.probe,
            clock=app.clock,
        )
    watched = open_watch(app).round(site, endpoint, app.api_key())
    return role, replace(watched, changes=(*told, *watched.changes))


def seen_health(app: App) -> ServiceHealth:
    """The service's health as who leads saw it last; its times are those of that machine."""
    return health_from(app.database.recall(f"health/{service_of(app).name}"))


def open_decisions(app: App) -> Decisions:
    return Decisions(app.database, service_of(app).name, app.clock)


def open_health_log(app: App) -> HealthLog:
    return HealthLog(app.database, service_of(app).name, app.clock)


def read_facts(
    app: App,
    health: ServiceHealth,
    *,
    leads: bool,
    arbiter_reachable: bool,
    heard: tuple[Heard, ...] = (),
) -> Facts:
    """Everything a decision is weighed by, now."""
    elsewhere = Elsewhere(
        arbiter_reachable, leads, tuple(each.voice for each in heard), decided_standby(app)
    )
    return facts_now(
        health,
        elsewhere,
        service=service_of(app).name,
        settings=app.config.decide,
        journal=Journal(app.database, app.clock),
        database=app.database,
        now=app.clock.now(),
        asks_a_person=asks_a_person(app),
    )


def decided_target(app: App, runbook: str | None = None) -> str:
    """Where a decision leads by that runbook (default: the decided one). ConfigError without a
    target.
    """
    name = decide.decided_target(app.config, runbook, serving=_last_site(app))
    if name is None:
        raise ConfigError("schedules.yaml has no target", hint="add one to `targets`")
    return name


def _last_site(app: App) -> str | None:
    return last_site(service_of(app).name, own_memory(app))


def asks_a_person(app: App) -> tuple[str, ...]:
    """Why what mode auto would carry out may not be by nobody's word, whatever the mode is."""
    auto = app.config.decide.model_copy(update={"mode": "auto"})
    name = decide.decided_runbook(app.config.model_copy(update={"decide": auto}))
    try:
        book = load_runbook(Path(app.config.runbooks) / f"{name}.yaml")
    except ConfigError as error:
        return (f"runbook {name} cannot be read: {error.message}",)
    return runbook_asks(book, ACTIONS)


def decided_standby(app: App) -> StandbyProof | None:
    """What is known of the target that mode auto would lead to, if it is a warm standby."""
    auto = app.config.decide.model_copy(update={"mode": "auto"})
    config = app.config.model_copy(update={"decide": auto})
    name = decide.decided_target(config, serving=_last_site(app))
    target = app.config.targets.get(name) if name is not None else None
    if name is None or target is None or not target.standby:
        return None
    return last_proof(own_memory(app), name) or StandbyProof(name, None, "it was never verified")


def verify_standbys(app: App) -> tuple[StandbyProof, ...]:
    """Asks every warm standby now."""
    service = service_of(app)
    return tuple(
        verify_standby(
            own_memory(app),
            app.prober,
            parse_endpoint(target.endpoint),
            target=name,
            model=service.model,
            api_key=app.api_key(),
            clock=app.clock,
        )
        for name, target in app.config.targets.items()
        if target.standby and target.endpoint
    )
