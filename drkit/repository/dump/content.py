"""A file's content out of its blobs, in one stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from drkit.errors import DamagedData
from drkit.repository.format.tree import Node
from drkit.repository.repository import Repository
from drkit.repository.trees.walk import Entry

_AHEAD = 4


def contents(repository: Repository, node: Node) -> Iterator[bytes]:
    """The file's content, a blob at a time, a few of them read ahead."""
    with ThreadPoolExecutor(_AHEAD, "dump") as pool:
        coming: deque[Future[bytes]] = deque()
        for blob in node.content:
            coming.append(pool.submit(repository.load_blob, blob))
            if len(coming) > _AHEAD:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def refuse_short(repository: Repository, entry: Entry) -> None:
    """`DamagedData` unless the file's blobs hold what the snapshot says: an archive would be out of
    step from there on.
    """
    node = entry.node
    held = sum(place.content_bytes for place in map(repository.index.find, node.content) if place)
    if held != node.size:
        raise DamagedData(
            f"{entry.path}: the snapshot says {node.size} bytes, its blobs hold {held}",
            hint="drkit check names what is lost; an older snapshot may hold the file",
        )
