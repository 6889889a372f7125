"""A tree that holds a store, or drkit's own state: each backup would keep the former ones again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from drkit.events import Note

if TYPE_CHECKING:
    from drkit.config.models import Config


def kept_again(config: Config, root: Path) -> Iterator[Note]:
    """A warning for each tree that holds such a folder and does not leave it out."""
    from drkit.config.local_paths import with_absolute_paths
    from drkit.config.sources import TreeSource
    from drkit.config.stores import FolderStore
    from drkit.sources.patterns import Patterns

    here = with_absolute_paths(config, root)
    stores = {f"store {n}": s.path for n, s in here.stores.items() if isinstance(s, FolderStore)}
    for name, source in here.sources.items():
        if not isinstance(source, TreeSource):
            continue
        left_out = Patterns(source.exclude, below=source.path)
        for what, path in {**stores, "state": here.state.path}.items():
            inside = PurePath(path).is_relative_to(source.path)
            above = [path, *map(str, PurePath(path).parents)]
            if inside and not any(left_out.match(each) for each in above):
                text = f"holds the {what}: each backup would keep the former ones again"
                yield Note("warning", f"sources.{name}", f"{text}; add to its `exclude`: {path}")
