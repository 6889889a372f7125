"""The arbiter in a folder, for one machine: each change under a file lock, written whole (R1).

`lease-<service>` and `role-<service>` are JSON files. flock is released by the kernel when its
holder dies, so that no stale lock is left behind.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from drkit.clock import Clock
from drkit.coordination.interface import (
    ArbiterUnreachable,
    Lease,
    LeaseHeld,
    LeaseLost,
    RoleRecord,
)
from drkit.errors import GuardRefused


class FolderArbiter:
    """Processes of one machine, through one folder. Network file systems are no place for it."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self._root = root
        self._clock = clock
        self._seen: dict[str, tuple[str, float]] = {}

    def read_role(self, service: str) -> RoleRecord | None:
        values = self._read(self._path("role", service))
        return _role(values) if values else None

    def acquire(self, service: str, holder: str, *, ttl_s: float) -> Lease:
        with self._locked():
            path = self._path("lease", service)
            values = self._read(path)
            if values and values["holder"] != holder and not self._expired(service, values):
                raise LeaseHeld(
                    f"{values['holder']} holds the lease of {service}",
                    hint=f"wait for it, or stop it; it is free {values['ttl_s']:.0f} s "
                    "after its last renewal",
                )
            return self._write_lease(path, Lease(service, holder, ttl_s, secrets.token_hex(8)))

    def renew(self, lease: Lease) -> Lease:
        with self._locked():
            path = self._path("lease", lease.service)
            self._require(lease)
            return self._write_lease(path, replace(lease, token=secrets.token_hex(8)))

    def release(self, lease: Lease) -> None:
        with self._locked():
            values = self._read(self._path("lease", lease.service))
            if values and values["token"] == lease.token:
                self._path("lease", lease.service).unlink()

    def record_role(self, lease: Lease, record: RoleRecord) -> None:
        with self._locked():
            self._require(lease)
            former = self.read_role(record.service)
            if former and record.epoch <= former.epoch:
                raise GuardRefused(
                    f"epoch {record.epoch} of {record.service} is not after {former.epoch}",
                    hint="somebody else moved the service meanwhile: drkit status",
                )
            self._write(
                self._path("role", record.service),
                {
                    "service": record.service,
                    "epoch": record.epoch,
                    "site": record.site,
                    "endpoint_url": record.endpoint_url,
                    "since": record.since.isoformat(),
                    "run_id": record.run_id,
                    "snapshots": list(record.snapshots),
                },
            )

    def _expired(self, service: str, values: Mapping[str, Any]) -> bool:
        """Counted on this machine's clock since it last saw the lease change (T1)."""
        now_s = self._clock.elapsed_s()
        token, since_s = self._seen.get(service, ("", now_s))
        if token != values["token"]:
            # One machine, one clock: within one boot the time of writing may be trusted.
            since_s = float(values["elapsed_s"]) if values["boot"] == _boot_id() else now_s
            self._seen[service] = (values["token"], since_s)
        return now_s - since_s > float(values["ttl_s"])

    def _require(self, lease: Lease) -> None:
        values = self._read(self._path("lease", lease.service))
        if values is None or values["token"] != lease.token or self._expired(lease.service, values):
            raise LeaseLost(
                f"the lease of {lease.service} is no longer {lease.holder}'s",
                hint="look who acts now: drkit status; then drkit runs resume",
            )

    def _write_lease(self, path: Path, lease: Lease) -> Lease:
        self._write(
            path,
            {
                "service": lease.service,
                "holder": lease.holder,
                "ttl_s": lease.ttl_s,
                "token": lease.token,
                "elapsed_s": self._clock.elapsed_s(),
                "boot": _boot_id(),
            },
        )
        return lease

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            with (self._root / "mutex").open("ab") as mutex:
                fcntl.flock(mutex, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise self._unreachable(error) from error

    def _path(self, kind: str, service: str) -> Path:
        safe = "".join(c if c.isalnum() or c in "-_" else "." for c in service)
        return self._root / f"{kind}-{safe}-{hashlib.sha256(service.encode()).hexdigest()[:8]}"

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            values: dict[str, Any] = orjson.loads(path.read_bytes())
            return values
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise self._unreachable(error) from error

    def _write(self, path: Path, values: Mapping[str, Any]) -> None:
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            with partial.open("xb") as file:
                file.write(orjson.dumps(values))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
            folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        finally:
            partial.unlink(missing_ok=True)

    def _unreachable(self, error: Exception) -> ArbiterUnreachable:
        return ArbiterUnreachable(
            f"the arbiter in {self._root}: {error}",
            hint="bring the folder back; nothing automatic happens until then",
        )


def _role(values: Mapping[str, Any]) -> RoleRecord:
    return RoleRecord(
        service=values["service"],
        epoch=values["epoch"],
        site=values["site"],
        endpoint_url=values["endpoint_url"],
        since=datetime.fromisoformat(values["since"]),
        run_id=values["run_id"],
        snapshots=tuple(values["snapshots"]),
    )


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"
