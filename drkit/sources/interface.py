"""What is protected. A source is cut into a folder; what the folder holds goes into the point."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from drkit.errors import PlaceError
from drkit.events import Emit


class SourceUnreadable(PlaceError):
    """The source cannot be cut now; its former subtree and cut time stay in the point."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A source as of `cut_at`, lying in `root` (the source's own folder, or a staged one).

    `exclude` are glob patterns that are left out. `facts` are JSON values that verify compares
    with later: counts, aliases, recorded answers. `staged`: `root` is drkit's to delete.
    """

    root: Path
    cut_at: datetime
    exclude: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    staged: bool = False


class Source(Protocol):
    """One protected thing that goes into the repository."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    def cut(self, spool: Path, emit: Emit) -> Cut:
        """A consistent cut; what must be staged is written below `spool`, an empty folder.
        Raises `SourceUnreadable`. Changes nothing in the source.
        """
        ...


MakeSource = Callable[[], Source]
