"""What may change in an arbiter, and when it must not: pure functions, the same for every place."""

from __future__ import annotations

from dataclasses import dataclass, replace

from drkit.coordination.interface import Lease, LeaseHeld, LeaseLost, RoleRecord
from drkit.errors import GuardRefused


@dataclass(frozen=True, slots=True)
class ServiceState:
    """All that an arbiter holds of one service; it changes as one."""

    lease: Lease | None = None
    role: RoleRecord | None = None


def acquired(state: ServiceState, wanted: Lease, *, left_s: float) -> ServiceState:
    """`state` with the lease `wanted`. `left_s`: what is left of the present lease as this
    machine counts it, zero or less when it ran out.

    A holder takes its own lease again at once: it is the same run, resumed. The former token is
    void from then on, so that a process that only seemed dead cannot go on. Raises `LeaseHeld`.
    """
    held = state.lease
    if held is not None and held.holder != wanted.holder and left_s > 0:
        raise LeaseHeld(
            f"{held.holder} holds the lease of {held.service}",
            hint=f"drkit runs list shows it; if its process is gone, the lease is free in "
            f"{left_s:.0f} s, unless it is renewed",
        )
    return replace(state, lease=wanted)


def renewed(state: ServiceState, lease: Lease, token: str, *, left_s: float) -> ServiceState:
    """`state` with `lease` for another full time, under a new token. Raises `LeaseLost`."""
    _must_hold(state, lease, left_s)
    return replace(state, lease=replace(lease, token=token))


def released(state: ServiceState, lease: Lease) -> ServiceState:
    """`state` without `lease`; as it is when the lease was lost before."""
    return replace(state, lease=None) if state.lease == lease else state


def recorded(
    state: ServiceState, lease: Lease, record: RoleRecord, *, left_s: float
) -> ServiceState:
    """`state` with `record` as the role. Raises `LeaseLost`, and `GuardRefused` for an epoch that
    is not greater than the present one, or the record of another service.
    """
    _must_hold(state, lease, left_s)
    if record.service != lease.service:
        raise GuardRefused(
            f"the lease of {lease.service} gives no right to record {record.service}",
            hint="nothing was recorded; acquire that service's own lease",
        )
    if state.role is not None and record.epoch <= state.role.epoch:
        raise GuardRefused(
            f"epoch {record.epoch} of {record.service} is not after epoch {state.role.epoch}, "
            f"which {state.role.site} serves",
            hint="nothing was recorded; read the role again: drkit status",
        )
    return replace(state, role=record)


def _must_hold(state: ServiceState, lease: Lease, left_s: float) -> None:
    if state.lease != lease:
        now = f"{state.lease.holder} holds it" if state.lease else "nobody holds it"
        raise LeaseLost(
            f"{lease.holder} lost the lease of {lease.service}: {now}", hint=_AFTER_LOSS
        )
    if left_s <= 0:
        raise LeaseLost(
            f"the lease of {lease.service} ran out {-left_s:.0f} s ago", hint=_AFTER_LOSS
        )


_AFTER_LOSS = "nothing was done under it; drkit runs resume acquires it again and looks first"
