"""When this machine last saw a lease change, on its own clock (T1).

A lease says nothing of wall time. Whoever waits for one to expire counts from the moment it first
saw the present token; whoever holds one counts from the moment before it was written, and so
always sees it end first. In a folder, what one command saw serves the next one; the clock counts
from the machine's start, so what was seen before a restart is forgotten.
"""

from __future__ import annotations

from pathlib import Path
from secrets import token_hex
from typing import Protocol
from urllib.parse import quote

import orjson

from drkit.coordination.interface import ArbiterUnreachable, Lease

Seen = tuple[str, float]
"""A lease's token, and `Clock.elapsed_s` when it was first seen."""


class Sightings(Protocol):
    def load(self, service: str) -> Seen | None: ...

    def save(self, service: str, seen: Seen) -> None: ...


def left_s(sightings: Sightings, lease: Lease, now_s: float) -> float:
    """Seconds that `lease` has left as this machine counts them; noted if it is new to it."""
    seen = sightings.load(lease.service)
    # A time that is still to come was counted by another clock.
    if seen is None or seen[0] != lease.token or seen[1] > now_s:
        seen = (lease.token, now_s)
        sightings.save(lease.service, seen)
    return seen[1] + lease.ttl_s - now_s


class MemorySightings:
    """For one process."""

    def __init__(self) -> None:
        self._seen: dict[str, Seen] = {}

    def load(self, service: str) -> Seen | None:
        return self._seen.get(service)

    def save(self, service: str, seen: Seen) -> None:
        self._seen[service] = seen


class FolderSightings:
    """For every process of this machine that is given the same folder."""

    def __init__(self, folder: Path, *, boot_id: str | None = None) -> None:
        self._folder = folder
        self._boot_id = boot_id or this_boot()

    def load(self, service: str) -> Seen | None:
        """What was seen since the machine started; a damaged note is as none."""
        try:
            value = orjson.loads(self._path(service).read_bytes())
            if value["boot_id"] != self._boot_id:
                return None
            return str(value["token"]), float(value["elapsed_s"])
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def save(self, service: str, seen: Seen) -> None:
        token, elapsed_s = seen
        note = {"boot_id": self._boot_id, "token": token, "elapsed_s": elapsed_s}
        path = self._path(service)
        temporary = path.with_name(f".{path.name}.{token_hex(6)}.tmp")
        try:
            # Whole or not at all, but not synced: no note outlives the machine's restart anyway.
            self._folder.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(orjson.dumps(note))
            temporary.replace(path)
        except OSError as error:
            raise ArbiterUnreachable(
                f"{self._folder}: cannot note when a lease was seen: {error.strerror or error}",
                hint="see that the state folder may be written and has room",
            ) from error

    def _path(self, service: str) -> Path:
        return self._folder / f"seen-{quote(service, safe='')}.json"


def this_boot() -> str:
    """Identifies the time since this machine was started."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"
