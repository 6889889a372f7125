"""Stores trees beside the scan that makes them: it needs their ids at once, and nothing else of
them.
"""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from drkit.repository.backup.blob_writer import BlobWriter
from drkit.repository.format.pack import BlobKind

_TOGETHER = 16
_TOGETHER_BYTES = 1 << 20
_UNDER_WAY = 16  # of so many trees, or bytes, each: what a scan may be ahead


class TreeWriter:
    def __init__(self, writer: BlobWriter, pool: ThreadPoolExecutor) -> None:
        self._writer = writer
        self._pool = pool
        self._waiting: list[tuple[bytes, bytes]] = []
        self._waiting_bytes = 0
        self._under_way: deque[Future[None]] = deque()

    def save(self, content: bytes) -> str:
        """The tree's id; it is stored when `finish` has returned. Raises what storing another one
        has raised.
        """
        tree_id = hashlib.sha256(content)
        self._waiting.append((tree_id.digest(), content))
        self._waiting_bytes += len(content)
        if len(self._waiting) >= _TOGETHER or self._waiting_bytes >= _TOGETHER_BYTES:
            self._send()
        return tree_id.hexdigest()

    def finish(self) -> None:
        """Returns when all is stored, or raises why it is not."""
        self._send()
        while self._under_way:
            self._under_way.popleft().result()

    def _send(self) -> None:
        if not self._waiting:
            return
        while len(self._under_way) >= _UNDER_WAY:
            self._under_way.popleft().result()
        trees, self._waiting, self._waiting_bytes = self._waiting, [], 0
        self._under_way.append(self._pool.submit(self._writer.store_all, BlobKind.TREE, trees))
