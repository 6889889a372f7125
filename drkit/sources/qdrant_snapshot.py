"""A collection's shard snapshots, opened by Qdrant's own engine: what they hold, not what is live.

That is where expected counts, digests and answers come from (Q1). qdrant-edge is optional.
"""

from __future__ import annotations

import hashlib
import heapq
import random
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from drkit.errors import DamagedData, PlaceError

PointId = int | str

COLLECTION = "collection.json"
"""The file beside a collection's snapshots that says what they do not hold."""

_PAGE = 1000
_QUERIES = 3
_CANDIDATES = 32
_LIMIT = 5
# Scores that are closer than this may change places from one processor to the next.
_TIE = 1e-5
_SMALLER_IS_NEARER = ("Euclid", "Manhattan")


class CannotOpen(PlaceError):
    """There is no engine here, or this one cannot read what the server wrote: inconclusive."""


@dataclass(frozen=True, slots=True)
class Query:
    """An exact search and its answer: `ids`, nearest first, no two of them equally near."""

    vector: list[float]
    using: str | None
    ids: tuple[PointId, ...]

    def fact(self) -> dict[str, Any]:
        return {
            "vector": self.vector,
            "using": self.using,
            "limit": len(self.ids),
            "ids": list(self.ids),
        }


@dataclass(frozen=True, slots=True)
class Opened:
    """All shards together. `ids_sha256` is over the sorted ids, one a line."""

    points: int
    ids_sha256: str
    queries: tuple[Query, ...]


def check_archive(path: Path) -> None:
    """Reads the tar from end to end. Raises `DamagedData` naming the file if it is cut short, no
    tar, or holds names that lead out of it.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            names = [
                (member.name, member.isfile() or member.isdir() or member.issparse())
                for member in archive
            ]
    except (tarfile.TarError, OSError, ValueError) as error:
        raise _damaged(path, f"is no whole tar archive ({error})") from error
    for name, plain in names:
        if not plain or name.startswith("/") or ".." in name.split("/"):
            raise _damaged(path, f"holds {name!r}, which no snapshot holds")
    if not names:
        raise _damaged(path, "is empty")


def open_shards(files: Sequence[Path], params: Mapping[str, Any], scratch: Path) -> Opened:
    """What the shard snapshots `files` of one collection hold; `params` are its `config.params`.

    `scratch`, an absent folder, is removed again. Raises `DamagedData` and `CannotOpen`.
    """
    for file in files:
        check_archive(file)
    try:
        import qdrant_edge
    except ImportError:
        raise CannotOpen(
            "snapshots are not opened here: qdrant-edge is not installed",
            hint="install drkit[qdrant], so that each backup is opened and counted",
        ) from None
    try:
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, scratch, ignore_errors=True)
            shards = []
            for number, file in enumerate(files):
                folder = scratch / str(number)
                folder.mkdir(parents=True)
                qdrant_edge.EdgeShard.unpack_snapshot(str(file), str(folder))
                shards.append(qdrant_edge.EdgeShard.load(str(folder)))
                stack.callback(shards[-1].close)
            return _look(qdrant_edge, shards, params)
    except Exception as error:  # the engine raises nothing more exact
        raise CannotOpen(
            f"{', '.join(file.name for file in files)} cannot be opened here: {error}",
            hint="the server may be of a newer line than qdrant-edge; restore it to a server",
        ) from error


def _look(edge: Any, shards: Sequence[Any], params: Mapping[str, Any]) -> Opened:
    points = sum(int(shard.count(edge.CountRequest(exact=True))) for shard in shards)
    rng = random.Random(points)
    # In an order of their own and more than are needed: some points have twins and prove nothing.
    wanted = rng.sample(range(points), min(points, _CANDIDATES))
    chosen: dict[int, PointId] = {}
    digest = hashlib.sha256()
    merged = heapq.merge(*(_ids(edge, shard) for shard in shards), key=_order)
    places = set(wanted)
    for place, point in enumerate(merged):
        digest.update(f"{point}\n".encode())
        if place in places:
            chosen[place] = point
    queries: list[Query] = []
    for place in wanted:
        if len(queries) < _QUERIES and place in chosen:
            queries += _asked(edge, shards, params, chosen[place])
    return Opened(points, digest.hexdigest(), tuple(queries))


def _ids(edge: Any, shard: Any) -> Iterator[PointId]:
    """All ids of a shard in the engine's order: numbers, then UUIDs."""
    following = None
    while True:
        request = edge.ScrollRequest(
            offset=following, limit=_PAGE, with_payload=False, with_vector=False
        )
        records, following = shard.scroll(request)
        for record in records:
            yield _plain(record.id)
        if following is None:
            return


def _asked(
    edge: Any, shards: Sequence[Any], params: Mapping[str, Any], point: PointId
) -> list[Query]:
    """The recorded query at `point`'s own vector; none if it has no dense one, or only ties."""
    found = [record for shard in shards for record in shard.retrieve([point], False, True)]
    if not found:
        return []
    for using, settings in _dense_vectors(params):
        held = found[0].vector
        vector = held.get(using or "") if isinstance(held, dict) else held
        if not isinstance(vector, list) or not all(isinstance(part, float) for part in vector):
            continue
        ids = _nearest(edge, shards, vector, using, str(settings.get("distance")))
        if ids:
            return [Query(vector, using, ids)]
    return []


def _nearest(
    edge: Any, shards: Sequence[Any], vector: list[float], using: str | None, distance: str
) -> tuple[PointId, ...]:
    request = edge.QueryRequest(
        query=edge.Query.Nearest(vector, using=using),
        limit=_LIMIT + 1,
        params=edge.SearchParams(exact=True),
    )
    hits = [(float(hit.score), _plain(hit.id)) for shard in shards for hit in shard.query(request)]
    hits.sort(key=lambda hit: hit[0], reverse=distance not in _SMALLER_IS_NEARER)
    ids: list[PointId] = []
    for (score, point), following in zip(hits, [*hits[1:], None], strict=True):
        if following and abs(score - following[0]) <= _TIE * max(1.0, abs(score)):
            break
        ids.append(point)
    return tuple(ids[:_LIMIT])


def _dense_vectors(params: Mapping[str, Any]) -> list[tuple[str | None, Mapping[str, Any]]]:
    """Name (None: the unnamed one) and settings of the vectors that a plain search can use."""
    vectors = params.get("vectors") or {}
    if "size" in vectors:
        return [(None, vectors)]
    return [
        (name, settings)
        for name, settings in sorted(vectors.items())
        if not settings.get("multivector_config")
    ]


def _plain(point: Any) -> PointId:
    return str(point) if isinstance(point, UUID) else int(point)


def _order(point: PointId) -> tuple[bool, int, str]:
    return (True, 0, point) if isinstance(point, str) else (False, point, "")


def _damaged(path: Path, what: str) -> DamagedData:
    return DamagedData(
        f"{path} {what}", hint="take another point, or let drkit check name where it is damaged"
    )
