"""The watch and its decisions, built for the deployment."""

from __future__ import annotations

from drkit.compute.interface import Endpoint
from drkit.coordination.decision import Facts
from drkit.coordination.decisions import Decisions
from drkit.errors import ConfigError
from drkit.health.interface import ServiceHealth
from drkit.health.reference import reach
from drkit.operations.decide import facts_now
from drkit.operations.watch import Watch
from drkit.runs.journal import Journal
from drkit.wiring.app import App, parse_endpoint


def serving(app: App) -> tuple[str, Endpoint]:
    """Site and endpoint that serve now, by the role record (R2)."""
    service = app.config.service
    if service is None or app.primary is None:
        raise ConfigError(
            "schedules.yaml names no endpoint to probe",
            hint="add `service`, and `endpoint` to its primary site",
        )
    role = app.arbiter.read_role(service.name)
    if role and role.endpoint_url:
        return role.site, parse_endpoint(role.endpoint_url)
    return service.primary, app.primary


def open_watch(app: App) -> Watch:
    """The watch of the service. ConfigError when there is none."""
    service = app.config.service
    if service is None:
        raise ConfigError(
            "schedules.yaml describes no service to watch", hint="add its `service` section"
        )
    return Watch(
        service=service.name,
        model=service.model,
        primary=service.primary,
        probe=app.config.probe,
        decide=app.config.decide,
        prober=app.prober,
        reach=reach,
        memory=app.database,
        clock=app.clock,
    )


def open_decisions(app: App) -> Decisions:
    assert app.config.service is not None
    return Decisions(app.database, app.config.service.name, app.clock)


def read_facts(app: App, health: ServiceHealth) -> Facts:
    assert app.config.service is not None
    return facts_now(
        health,
        service=app.config.service.name,
        settings=app.config.decide,
        arbiter=app.arbiter,
        journal=Journal(app.database, app.clock),
        database=app.database,
        now=app.clock.now(),
    )
