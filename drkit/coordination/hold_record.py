"""The note of a hold, written on the arbiter: by who leads, or by a run that leaves its hold."""

from __future__ import annotations

from datetime import datetime

from drkit.coordination.hold import HoldNote, Phase, hold_key, note_from, record_of
from drkit.coordination.interface import Arbiter

# Writing it is two requests: who dies between them leaves the lease to run out after this long.
_NOTE_TTL_S = 30.0


def write_note(
    arbiter: Arbiter,
    holder: str,
    before: HoldNote,
    phase: Phase,
    switches: tuple[str, ...],
    service: str,
    site: str,
    now: datetime,
) -> HoldNote:
    """The note that follows `before`, under an epoch of its own, so that each is written by one.

    Raises `ArbiterUnreachable`, `LeaseHeld`, `LeaseLost`, and `GuardRefused` where another wrote
    one since `before` was read.
    """
    record = record_of(before, phase, switches, service, site, now)
    lease = arbiter.acquire(hold_key(service), holder, ttl_s=_NOTE_TTL_S)
    arbiter.record_role(lease, record)
    arbiter.release(lease)
    return note_from(record)
