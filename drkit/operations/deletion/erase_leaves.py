"""What an erasure does not take away, said before it is done (K6). Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from drkit.config.sources import QdrantSource, SourceConfig, WeightsSource
from drkit.mirror.manifest import mirror_folder
from drkit.points.find import FoundPoint

Kind = Literal["weights", "vectors", "point.json", "runs", "here"]


@dataclass(frozen=True, slots=True)
class Left:
    """Something that stays as it is. `what` in words; `how` it goes, where it can."""

    kind: Kind
    what: str
    how: str

    def __str__(self) -> str:
        return f"{self.what}; {self.how}" if self.how else self.what


def left_by_erasing(
    paths: Sequence[str],
    removed: Collection[str],
    *,
    points: Sequence[FoundPoint],
    sources: Mapping[str, SourceConfig],
    runs: int,
) -> tuple[Left, ...]:
    """What stays when `paths` go from every point, and the points `removed` whole.

    `runs`: how many this deployment has had, each of which left its journal and evidence.
    """
    staying = [point for point in points if point.id not in removed]
    found = [
        _mirror(name, source)
        for name, source in sources.items()
        if isinstance(source, WeightsSource)
    ]
    if any(isinstance(source, QdrantSource) for source in sources.values()):
        found.append(_VECTORS)
    if staying:
        found.append(_point_files(staying, paths, sources))
    if runs:
        found.append(_runs(runs))
    return (*found, _HERE)


_VECTORS = Left(
    "vectors",
    "single vectors stay in the snapshots of Qdrant, which go whole or not at all",
    "delete them in Qdrant, then erase /SOURCE/COLLECTION of the points before",
)

_HERE = Left(
    "here",
    "what was restored to disks, and what other machines keep sealed in .drkit/cache",
    "delete it there",
)


def _mirror(name: str, source: WeightsSource) -> Left:
    folder = mirror_folder(source.model, source.revision)
    return Left(
        "weights",
        f"mirrored weights of {name} ({folder} on {', '.join(source.stores)}) lie in no point and "
        "stay whole",
        f"take {name} away, then: drkit erase --weights {source.model}@{source.revision}",
    )


def _point_files(
    staying: Sequence[FoundPoint], paths: Sequence[str], sources: Mapping[str, SourceConfig]
) -> Left:
    named = [point.id[:8] for point in staying if _names(point, paths, sources)]
    by_name = f", and names it in {', '.join(named)} (not read, or changing)" if named else ""
    return Left(
        "point.json",
        "each point still says how many files and bytes its sources had, and holds their digests, "
        f"golden answers and the configuration{by_name}",
        "these go with the point: --point ID",
    )


def _runs(runs: int) -> Left:
    return Left(
        "runs",
        f"journals and evidence of {runs} runs (sealed below runs/ in each store, plain in .drkit "
        "here) stay; they name files that a proof found wrong",
        "delete runs/RUN/ in each store and .drkit/evidence/RUN",
    )


def _names(found: FoundPoint, paths: Sequence[str], sources: Mapping[str, SourceConfig]) -> bool:
    """Whether point.json names a file that goes, by its place on the disk it was read from."""
    for path in paths:
        name, _, below = path.removeprefix("/").partition("/")
        part, root = found.point.sources.get(name), getattr(sources.get(name), "path", None)
        if part is None or root is None:
            continue
        place = f"{root.rstrip('/')}/{below}" if below else root.rstrip("/")
        listed = (*part.unreadable, *part.changing)
        if any(each == place or each.startswith(f"{place}/") for each in listed):
            return True
    return False
