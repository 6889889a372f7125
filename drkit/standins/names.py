"""Where the sandbox's names lead when it comes up: to its primary, and the role record agrees."""

from __future__ import annotations

from drkit.compute.interface import Endpoint, InstanceState
from drkit.coordination.interface import LeaseHeld, RoleRecord
from drkit.points.find import listed_ids
from drkit.runs.lease import LEASE_TTL_S
from drkit.traffic.interface import Namespace, ToSite
from drkit.wiring import App

_HOLDER = "sandbox"


def point_switches(
    app: App, namespace: Namespace, primary: ToSite, *, only_unset: bool = False
) -> None:
    """Every switch that can lead to the primary does; `only_unset`: those that named nothing."""
    for switch in app.switches(namespace):
        before = switch.read()
        if switch.refusal(primary) is None and not (only_unset and before.value):
            switch.apply(switch.plan(before, primary))


def bring_home(app: App, service: str, primary: ToSite) -> None:
    """The primary serves again, by its names and, with the next epoch, by the role record.

    For a sandbox that starts from nothing running: a target that served ended with it, and holds
    end with the outage. Left alone are a target that still serves, and a service whose lease a run
    holds: that run decides.
    """
    role = app.arbiter.read_role(service)
    if role is not None and role.endpoint_url != primary.endpoint.url:
        if _still_serves(app, role):
            return
        try:
            lease = app.arbiter.acquire(service, _HOLDER, ttl_s=LEASE_TTL_S)
        except LeaseHeld:
            return
        try:
            app.arbiter.record_role(lease, _next_epoch(app, role, primary))
        finally:
            app.arbiter.release(lease)
    point_switches(app, "production", primary)


def _still_serves(app: App, role: RoleRecord) -> bool:
    if role.site not in app.config.targets:
        return False
    return any(
        _url(instance.endpoint) == role.endpoint_url
        for instance in app.compute(role.site).find({})
        if instance.state is InstanceState.RUNNING
    )


def _url(endpoint: Endpoint | None) -> str | None:
    return endpoint.url if endpoint else None


def _next_epoch(app: App, role: RoleRecord, primary: ToSite) -> RoleRecord:
    return RoleRecord(
        service=role.service,
        epoch=role.epoch + 1,
        site=primary.site,
        endpoint_url=primary.endpoint.url,
        since=app.clock.now(),
        run_id=None,
        snapshots=listed_ids(app.repository),
    )
