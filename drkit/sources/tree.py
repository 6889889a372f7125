"""A folder on this machine, cut where it lies."""

from __future__ import annotations

import os
from pathlib import Path

from drkit.clock import Clock
from drkit.events import Emit
from drkit.sources.interface import Cut, SourceUnreadable


class TreeSource:
    kind = "tree"

    def __init__(self, name: str, root: Path, exclude: tuple[str, ...], clock: Clock) -> None:
        self.name = name
        self._root = root
        self._exclude = exclude
        self._clock = clock

    def cut(self, spool: Path, emit: Emit) -> Cut:
        cut_at = self._clock.now()
        try:
            os.scandir(self._root).close()
        except OSError as error:
            raise SourceUnreadable(
                f"{self.name}: {self._root}: {error.strerror}",
                hint="check the path and that drkit may read it",
            ) from None
        return Cut(self._root, cut_at, exclude=self._exclude)
