"""The audit log: who did what, when. Each line holds the digest of the one before it.

Whoever changes, removes or inserts a line breaks the chain from there on, and `verify` says where.
A tail that was cut off leaves a sound chain: compare its length and head with an earlier export.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select

from drkit.clock import Clock
from drkit.state.database import Database, again_on_conflict
from drkit.state.schema import AUDIT

FIRST = "0" * 64
"""What the first line names as the digest of the one before it."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line. `digest` is SHA-256 over `previous` and all other fields, as canonical JSON."""

    seq: int
    at: datetime
    who: str
    what: str
    subject: str
    detail: Mapping[str, Any]
    previous: str
    digest: str

    def computed(self) -> str:
        """The digest that the line must have."""
        values = [self.seq, self.at.isoformat(), self.who, self.what, self.subject, self.detail]
        text = json.dumps([self.previous, *values], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """`broken_at`: number of the first line that does not follow from the one before; None: sound.
    `head` is the digest of the last sound line.
    """

    entries: int
    head: str
    broken_at: int | None


class AuditLog:
    """Lines are only ever added, each in one durable transaction."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @again_on_conflict
    def append(
        self, what: str, subject: str, detail: Mapping[str, Any], *, who: str | None = None
    ) -> AuditEntry:
        """Adds a line. `detail` is JSON without secrets; `who` is by default this user."""
        with self._database.write() as connection:
            last = connection.execute(select(AUDIT).order_by(AUDIT.c.seq.desc()).limit(1)).first()
            unsealed = AuditEntry(
                last.seq + 1 if last else 1,
                self._clock.now().replace(microsecond=0),
                who or this_user(),
                what,
                subject,
                json.loads(json.dumps(detail)),
                last.digest if last else FIRST,
                "",
            )
            digest = unsealed.computed()
            connection.execute(
                AUDIT.insert().values(
                    seq=unsealed.seq,
                    at=unsealed.at,
                    who=unsealed.who,
                    what=what,
                    subject=subject,
                    detail=json.dumps(unsealed.detail, sort_keys=True),
                    previous=unsealed.previous,
                    digest=digest,
                )
            )
        return replace(unsealed, digest=digest)

    def entries(self, after_seq: int = 0) -> Iterator[AuditEntry]:
        """The lines after `after_seq`, in their order."""
        query = select(AUDIT).where(AUDIT.c.seq > after_seq).order_by(AUDIT.c.seq)
        with self._database.read() as connection:
            for row in connection.execute(query):
                yield _entry(row)

    def verify(self) -> AuditVerdict:
        """Recomputes the whole chain."""
        head, count = FIRST, 0
        for entry in self.entries():
            follows = entry.seq == count + 1 and entry.previous == head
            if not follows or entry.digest != entry.computed():
                return AuditVerdict(count, head, count + 1)
            head, count = entry.digest, count + 1
        return AuditVerdict(count, head, None)


def this_user() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = "unknown"
    return f"{name}@{socket.gethostname()}"


def _entry(row: Row[Any]) -> AuditEntry:
    return AuditEntry(
        row.seq,
        row.at,
        row.who,
        row.what,
        row.subject,
        json.loads(row.detail),
        row.previous,
        row.digest,
    )
