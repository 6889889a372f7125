"""Sets of blobs as one byte for each blob of the index: a million of them take a megabyte."""

from __future__ import annotations

from collections.abc import Iterator

from drkit.repository.index.blobs import Index, Location


class BlobSet:
    """Blobs of `index`; the few that it does not know are kept by id beside it."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._flags = bytearray(index.rows)
        self._unknown: set[bytes] = set()
        self._count = 0

    def add(self, blob_id: bytes) -> bool:
        """True when the blob was not in the set yet."""
        row = self._index.row(blob_id)
        if row is None:
            if blob_id in self._unknown:
                return False
            self._unknown.add(blob_id)
        elif self._flags[row]:
            return False
        else:
            self._flags[row] = 1
        self._count += 1
        return True

    def __contains__(self, blob_id: bytes) -> bool:
        row = self._index.row(blob_id)
        return blob_id in self._unknown if row is None else bool(self._flags[row])

    def __len__(self) -> int:
        return self._count

    @property
    def unknown(self) -> frozenset[bytes]:
        """Blobs that no index names."""
        return frozenset(self._unknown)

    def known(self) -> Iterator[tuple[bytes, Location]]:
        """Every blob of the set that the index names, with one of its places."""
        at = self._flags.find(1)
        while at >= 0:
            yield self._index.place(at)
            at = self._flags.find(1, at + 1)
