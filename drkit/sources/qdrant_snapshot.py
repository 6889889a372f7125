"""Opens a shard snapshot in this process, on the real engine: what is really in it (Q1)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drkit.sources.interface import SourceUnreadable

_QUERIES = 3
_NEIGHBOURS = 5


def open_snapshot(snapshot: Path, spool: Path, subject: str) -> dict[str, Any] | None:
    """Exact count and three recorded queries; None where the engine is not installed.

    Raises `SourceUnreadable` when the snapshot does not open: then it is no backup.
    """
    try:
        import qdrant_edge as edge
    except ImportError:
        return None
    shutil.rmtree(spool, ignore_errors=True)
    spool.mkdir(parents=True)
    try:
        edge.EdgeShard.unpack_snapshot(str(snapshot), str(spool))
        shard = edge.EdgeShard.load(str(spool))
        try:
            count = int(shard.count(edge.CountRequest(exact=True)))
            records, _ = shard.scroll(
                edge.ScrollRequest(limit=_QUERIES, with_payload=False, with_vector=True)
            )
            return {"points": count, "queries": [_query(edge, shard, r.vector) for r in records]}
        finally:
            shard.close()
    except Exception as error:  # the engine raises nothing more exact
        raise SourceUnreadable(
            f"{subject}: its snapshot does not open: {error}",
            hint="the server gave a damaged snapshot; look at its log and disk",
        ) from None
    finally:
        shutil.rmtree(spool, ignore_errors=True)


def _query(edge: Any, shard: Any, vector: Any) -> dict[str, Any]:
    using = None
    if isinstance(vector, Mapping):
        using, vector = next(iter(vector.items()))
    nearest = edge.Query.Nearest(vector, using=using) if using else edge.Query.Nearest(vector)
    found = shard.query(
        edge.QueryRequest(query=nearest, limit=_NEIGHBOURS, params=edge.SearchParams(exact=True))
    )
    return {
        "vector": [float(value) for value in vector],
        "using": using or None,
        "limit": _NEIGHBOURS,
        "ids": [point.id if isinstance(point.id, int) else str(point.id) for point in found],
    }
