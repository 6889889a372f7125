"""What a backup cuts, and how; and what of it may be done while a run still waits for its locks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from drkit.config.sources import WeightsSource
from drkit.events import Emit, discard
from drkit.points.find import TAG
from drkit.repository.backup.ahead import Ahead, look_ahead
from drkit.repository.backup.scan import BY_ALL, Compare
from drkit.repository.format.tree import decode_tree
from drkit.repository.repository import Repository
from drkit.sources.interface import NOTHING_EXCLUDED, Cut, Excludes, Source, SourceUnreadable


@dataclass(frozen=True, slots=True)
class Due:
    """What this backup cuts; everything else is carried over from the newest point.

    `excludes` are left out of trees this time, beside what the configuration says; `percent` is
    how much of a source may fall before it is an anomaly (50 where it is not named, None: all).
    """

    sources: Mapping[str, Source]
    weights: Mapping[str, WeightsSource]
    all_sources: tuple[str, ...]
    all_weights: tuple[str, ...]
    excludes: Excludes = NOTHING_EXCLUDED
    compare: Compare = BY_ALL
    percent: Mapping[str, float | None] = field(default_factory=dict)
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Foreseen:
    """Trees that were cut already, and what was seen of them, by source."""

    cuts: Mapping[str, Cut] = field(default_factory=dict)
    trees: Mapping[str, Ahead] = field(default_factory=dict)


NOTHING_FORESEEN = Foreseen()


def cut_source(source: Source, excludes: Excludes, spool: Path, emit: Emit) -> Cut:
    """The cut; `excludes` are left out of a tree beside what its configuration says."""
    cut = source.cut(spool, emit)
    return replace(cut, exclude=_both(cut.exclude, excludes)) if source.kind == "tree" else cut


def foresee(
    repository: Repository, due: Due, work_dir: Path, go_on: Callable[[], bool]
) -> Foreseen:
    """Cuts the trees that are due, and looks at them as long as `go_on` says so. What cannot be
    foreseen is left to the run; no store is asked.
    """
    points = [found for found in repository.expected() if TAG in found.tags]
    content = repository.kept_blob(bytes.fromhex(points[-1].tree)) if points else None
    if content is None:
        return NOTHING_FORESEEN
    former = {node.name.decode("utf-8", "replace"): node.subtree for node in decode_tree(content)}
    cuts: dict[str, Cut] = {}
    trees: dict[str, Ahead] = {}
    for name, source in due.sources.items():
        tree_id = former.get(name)
        if source.kind != "tree" or tree_id is None or not go_on():
            continue
        try:
            cut = cut_source(source, due.excludes, work_dir, discard)
        except SourceUnreadable:
            continue
        cuts[name] = cut
        trees[name] = look_ahead(
            repository,
            cut.root,
            excludes=cut.exclude,
            compare=due.compare,
            former=tree_id,
            go_on=go_on,
        )
    return Foreseen(cuts, trees)


def _both(first: Excludes, second: Excludes) -> Excludes:
    """What either leaves out."""
    sizes = [e.larger_than_bytes for e in (first, second) if e.larger_than_bytes is not None]
    return replace(
        first,
        patterns=first.patterns + second.patterns,
        ipatterns=first.ipatterns + second.ipatterns,
        larger_than_bytes=min(sizes, default=None),
        caches=first.caches or second.caches,
        if_present=first.if_present + second.if_present,
        one_file_system=first.one_file_system or second.one_file_system,
    )
