"""A folder with everything below it, as it lies there; nothing is staged."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from drkit.clock import Clock
from drkit.events import Emit
from drkit.sources.interface import Cut, Excludes, SourceUnreadable


class TreeFolder:
    """The folder at `path`, which may be a symbolic link to it. Satisfies `Source`."""

    kind = "tree"

    def __init__(self, name: str, path: str, *, exclude: Excludes, clock: Clock) -> None:
        self._name = name
        self._path = Path(path).expanduser()
        self._exclude = exclude
        self._clock = clock

    @property
    def name(self) -> str:
        return self._name

    def cut(self, spool: Path, emit: Emit) -> Cut:
        """The folder itself. Files that change while they are read are the scan's to report."""
        cut_at = self._clock.now()
        try:
            root = self._path.resolve(strict=True)
            with os.scandir(root):
                pass
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
            raise SourceUnreadable(
                f"{self._name}: {self._path} cannot be read: {error}",
                hint=f"see that sources.{self._name}.path is a folder that drkit may read",
            ) from error
        shown = os.path.abspath(self._path)  # noqa: PTH100  (links are not followed)
        return Cut(root, cut_at, exclude=replace(self._exclude, shown=shown))
