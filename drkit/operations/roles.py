"""Who serves, by the role record; while the arbiter is away, by the one that was read last (R1)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from drkit.clock import Clock
from drkit.coordination.interface import Arbiter, ArbiterUnreachable, RoleRecord
from drkit.health.interface import Memory
from drkit.health.witness.file_memory import FileMemory

_EMPTIED = (
    "its record of who serves is gone: somebody emptied or replaced it. Put it back, or say anew "
    "who serves: drkit failover --to TARGET, or drkit runbook run emergency-rollback and then "
    "drkit failback"
)


@dataclass(frozen=True, slots=True)
class SeenRole:
    """`role`: None while nothing was ever recorded, or read. `read_at`: None: it never was.
    `unconfirmed`: why the arbiter could not be asked now; None: it was.
    """

    role: RoleRecord | None
    read_at: datetime | None
    unconfirmed: str | None = None

    def age_s(self, now: datetime) -> float | None:
        return (now - self.read_at).total_seconds() if self.read_at else None


def machine_memory(state_dir: Path) -> FileMemory:
    """What this machine saw itself. Its clock is its own: nobody else counts on with it."""
    return FileMemory(state_dir / "watch")


def read_role(
    arbiter: Arbiter, service: str, memory: Memory, clock: Clock, *, primary: str | None = None
) -> SeenRole:
    """The role record now, kept for when the arbiter is away; or the one that was kept (R2).

    `primary`: who serves where nothing was ever recorded (None: it is not known here). An arbiter
    that was emptied says so of a service that was led elsewhere, too: then the record that was read
    before is followed, and nothing acts by itself, until a run that a person typed records anew
    who serves.
    """
    try:
        role = arbiter.read_role(service)
    except ArbiterUnreachable as error:
        return _kept(service, memory, error.message)
    if role is None:
        kept = _kept(service, memory, _EMPTIED)
        if kept.role is not None and kept.role.site != primary:
            return kept
    now = clock.now()
    value = None
    if role is not None:
        value = {
            "epoch": role.epoch,
            "site": role.site,
            "endpoint_url": role.endpoint_url,
            "since": role.since.isoformat(),
            "run_id": role.run_id,
        }
    memory.remember(f"role/{service}", {"read_at": now.isoformat(), "role": value})
    return SeenRole(role, now)


def last_site(service: str, memory: Memory) -> str | None:
    """Where the service lived when this machine last read the role record; None: it never did."""
    role = _kept(service, memory, "").role
    return role.site if role else None


def _kept(service: str, memory: Memory, why: str) -> SeenRole:
    """A note that cannot be read is as none. Which snapshots were listed is not kept."""
    kept = memory.recall(f"role/{service}")
    try:
        assert isinstance(kept, dict)
        value, role = kept["role"], None
        if value is not None:
            role = RoleRecord(
                service=service,
                epoch=int(value["epoch"]),
                site=str(value["site"]),
                endpoint_url=value["endpoint_url"],
                since=datetime.fromisoformat(value["since"]),
                run_id=value["run_id"],
            )
        return SeenRole(role, datetime.fromisoformat(kept["read_at"]), why)
    except (AssertionError, KeyError, TypeError, ValueError):
        return SeenRole(None, None, why)
