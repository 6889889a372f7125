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
class Excludes:
    """What is left out of a tree, by restic's rules: patterns (`ipatterns` whatever the case),
    larger files, what lies beside a CACHEDIR.TAG or a named file (`NAME` or `NAME:HEADER`), other
    file systems. `ignore_files`: a `.drkitignore` holds patterns for its folder. `shown`: the root
    as it is configured, where patterns that start with `/` see it through a link.
    """

    patterns: tuple[str, ...] = ()
    ipatterns: tuple[str, ...] = ()
    larger_than_bytes: int | None = None
    caches: bool = False
    if_present: tuple[str, ...] = ()
    one_file_system: bool = False
    ignore_files: bool = False
    shown: str | None = None


NOTHING_EXCLUDED = Excludes()


@dataclass(frozen=True, slots=True)
class Cut:
    """A source as of `cut_at`, lying in `root` (the source's own folder, or a staged one).

    `exclude` is what is left out of it. `facts` are JSON values that verify compares
    with later: counts, aliases, recorded answers. `staged`: `root` is drkit's to delete.
    """

    root: Path
    cut_at: datetime
    exclude: Excludes = NOTHING_EXCLUDED
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
