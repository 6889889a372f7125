"""What a check finds, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["missing", "wrong", "unread", "unnamed", "reach"]
"""missing: not there. wrong: other bytes than its hash. unread: the store gave an error.
unnamed: there, but no index of the store names it. reach: a snapshot needs what is not there.
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One object of one store and what is wrong with it."""

    store: str
    name: str
    kind: Kind
    what: str

    def __str__(self) -> str:
        return f"{self.name}: {self.what}" if self.name else self.what  # else of the whole store


@dataclass(frozen=True, slots=True)
class LostFile:
    """A file, or a folder with all below it, that no store can give whole, and where it was."""

    path: str
    what: str
    snapshots: tuple[str, ...]

    def __str__(self) -> str:
        of = ", ".join(snapshot[:8] for snapshot in self.snapshots[:3])
        more = f" and {len(self.snapshots) - 3} more" if len(self.snapshots) > 3 else ""
        return f"{self.path}: {self.what} (in snapshot {of}{more})"


@dataclass(frozen=True, slots=True)
class StoreCheck:
    """What one store holds and what is wrong there.

    `lacks`: objects that others have and it needs. `packs_read` were hashed whole. `spare_packs`
    are named by none of its indexes: left by a run that died, or of one that is under way.
    """

    packs: int
    packs_read: int = 0
    bytes_read: int = 0
    findings: tuple[Finding, ...] = ()
    lacks: int = 0
    spare_packs: int = 0
    spare_bytes: int = 0
    notes: tuple[str, ...] = ()

    @property
    def read_whole(self) -> bool:
        """Whether every pack that was to be read was read, right or wrong."""
        return not any(finding.kind == "unread" for finding in self.findings)

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(map(str, self.findings))

    @property
    def sound(self) -> bool:
        return not self.findings and not self.lacks


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Each store by itself, and what is lost because no store that answers has a good copy."""

    stores: Mapping[str, StoreCheck]
    lost: tuple[LostFile, ...]
    lost_snapshots: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        return not (self.lost or self.lost_snapshots) and all(
            check.sound for check in self.stores.values()
        )

    @property
    def damaged(self) -> bool:
        """Whether something is lost, wrong or gone; a store that only lags is not damaged."""
        return bool(self.lost or self.lost_snapshots) or any(
            finding.kind != "unread" for finding in self.findings
        )

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(finding for check in self.stores.values() for finding in check.findings)
