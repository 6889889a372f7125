"""Weights that go through the repository, encrypted: the model's folder, as a tree."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from drkit.events import Emit
from drkit.sources.interface import Cut, Source, SourceUnreadable


class WeightsFolder:
    """A model directory whose files lie in it. Satisfies `Source`."""

    kind = "weights"

    def __init__(self, tree: Source, *, model: str | None, revision: str | None) -> None:
        self._tree = tree
        self._facts = {"model": model, "revision": revision}

    @property
    def name(self) -> str:
        return self._tree.name

    def cut(self, spool: Path, emit: Emit) -> Cut:
        """The folder itself. One that holds links (a cache of downloads) is refused: a restored
        link would lead nowhere.
        """
        cut = self._tree.cut(spool, emit)
        if (link := _first_link(cut.root)) is not None:
            raise SourceUnreadable(
                f"{self.name}: {link} is a link, and the file that it leads to would not be kept",
                hint="name a folder that holds the files themselves "
                "(hf download --local-dir), or mirror it: mode: mirror follows links",
            )
        facts = {key: value for key, value in self._facts.items() if value is not None}
        return replace(cut, facts=facts)


def _first_link(root: Path) -> str | None:
    for folder, below, files in os.walk(root):
        for name in (*below, *files):
            place = os.path.join(folder, name)  # noqa: PTH118  (a model may hold many files)
            if os.path.islink(place):  # noqa: PTH114
                return place
    return None
