"""Who may act, and who serves now: lease, epoch and role record on one arbiter (R1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from drkit.errors import GuardRefused, NeedsOperator, PlaceError


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to act for `service` until it expires. `token` changes at every renewal.

    `taken_over`: another holder had it and did not give it back; what that one sent last may still
    arrive (T3). Only the one who acquired the lease knows.
    """

    service: str
    holder: str
    ttl_s: float
    token: str
    taken_over: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class RoleRecord:
    """Who serves now. `snapshots` are those of this and earlier epochs that were listed when the
    epoch began; a snapshot of an older epoch that is not among them is not choosable (S14).
    """

    service: str
    epoch: int
    site: str
    endpoint_url: str | None
    since: datetime
    run_id: str | None
    snapshots: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Holding:
    """Who has a lease. `left_s`: until it ends, as this machine counts; not above 0: it ran out."""

    holder: str
    left_s: float


@dataclass(frozen=True, slots=True)
class ArbiterProof:
    """`place`: which one, as the configuration names it. `seen`: what was seen, in words."""

    place: str
    seen: str
    at: datetime


class LeaseHeld(NeedsOperator):
    """Somebody else holds the lease."""


class LeaseLost(NeedsOperator):
    """The lease was taken over or ran out; nothing may be done under it any more."""


class ClockSkewed(GuardRefused):
    """This machine's clock and the arbiter's differ so much that it may not lead (T1)."""


class ArbiterUnreachable(PlaceError):
    """Lease and role cannot be read or written; no automatic effect until they can (R1)."""


class Arbiter(Protocol):
    """One compare-and-swap place. Every change is atomic and survives a crash."""

    def read_role(self, service: str) -> RoleRecord | None:
        """The newest role record, or None if the service was never recorded."""
        ...

    def acquire(self, service: str, holder: str, *, ttl_s: float) -> Lease:
        """The lease, if it is free, expired or already `holder`'s. Raises `LeaseHeld`.

        Expiry of another's lease is counted on this machine's own clock since it last saw that
        lease change, never by comparing wall clocks (T1). MUST refuse (`ClockSkewed`) when the
        place's clock is known and differs by over five minutes.
        """
        ...

    def holding(self, service: str) -> Holding | None:
        """Who has the lease now; None if nobody. One that ran out is shown until it is taken."""
        ...

    def renew(self, lease: Lease) -> Lease:
        """The lease for another `ttl_s`, with a new token. Raises `LeaseLost`."""
        ...

    def release(self, lease: Lease) -> None:
        """Frees the lease; one that is already lost is no error."""
        ...

    def record_role(self, lease: Lease, record: RoleRecord) -> None:
        """Writes who serves now. MUST refuse (`LeaseLost`) without the lease, and (`GuardRefused`)
        an epoch that is not greater than the recorded one.
        """
        ...
