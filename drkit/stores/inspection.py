"""What a store says of itself, its rules, and of what its credential may do: for `drkit doctor`.

Reading it changes nothing in the store. What could not be asked is None, and named in `unasked`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

Action = Literal["delete", "thaw", "cool", "abort-uploads"]


@dataclass(frozen=True, slots=True)
class LifecycleRule:
    """What the store does by itself to objects whose name starts with `prefix`.

    "thaw": moves them where they cannot be read at once; "cool": where reading costs more.
    `old_only`: only to versions that were replaced or deleted. `days` may be unknown.
    """

    action: Action
    prefix: str = ""
    days: float | None = None
    old_only: bool = False


@dataclass(frozen=True, slots=True)
class Inspection:
    """`prefix`: what lifecycle prefixes are compared with. `skew_s`: the store's clock minus ours.

    `deletes_versions`: what drkit deletes there goes with all its versions. `lacking` and `excess`:
    permissions, in the store's own words, that the credential needs and has not, and that it has
    and should not have. `lockable`: whether objects can be locked.
    """

    place: str
    prefix: str = ""
    region: str | None = None
    skew_s: float | None = None
    versioned: bool | None = None
    deletes_versions: bool = False
    soft_delete_s: float | None = None
    lifecycle: tuple[LifecycleRule, ...] | None = None
    lockable: bool | None = None
    retention_s: float | None = None
    public: bool | None = None
    free_bytes: int | None = None
    lacking: tuple[str, ...] = ()
    excess: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()


class Inspected(Protocol):
    """A store that can be asked about itself."""

    def inspect(self) -> Inspection:
        """Never raises for one question that is refused; raises for a store that is not there."""
        ...


@runtime_checkable
class Dated(Protocol):
    """A store whose server says what time it is."""

    def clock_skew_s(self) -> float | None:
        """Seconds that the server's clock is ahead of ours, by the Date of one small answer; None:
        it said none.
        """
        ...
