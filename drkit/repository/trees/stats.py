"""How much snapshots hold, counted as restic's `stats` counts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from drkit.errors import ConfigError
from drkit.events import Progress
from drkit.repository.index.blob_set import BlobSet
from drkit.repository.repository import ListedSnapshot, Repository
from drkit.repository.trees.walk import Entry, entries

Mode = Literal["restore-size", "files-by-contents", "raw-data"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True, slots=True)
class Stats:
    """Sums over the snapshots. Blobs and compression are counted in the mode raw-data only."""

    snapshots: int
    bytes: int
    files: int = 0
    blobs: int = 0
    uncompressed_bytes: int = 0
    compressed_blobs_bytes: int = 0
    compressed_blobs_raw_bytes: int = 0

    @property
    def compression_ratio(self) -> float | None:
        """Of what is compressed: content by stored bytes."""
        if not self.compressed_blobs_bytes:
            return None
        return self.compressed_blobs_raw_bytes / self.compressed_blobs_bytes

    @property
    def compression_progress(self) -> float | None:
        """The share of the content, in percent, that is stored compressed."""
        if not self.uncompressed_bytes:
            return None
        return self.compressed_blobs_raw_bytes / self.uncompressed_bytes * 100

    @property
    def space_saving(self) -> float | None:
        """In percent of the content."""
        if not self.uncompressed_bytes:
            return None
        return (1 - self.bytes / self.uncompressed_bytes) * 100


def read_mode(text: str) -> Mode:
    for mode in MODES:
        if mode == text:
            return mode
    raise ConfigError(f"{text!r} is no way of counting", hint=f"one of {', '.join(MODES)}")


def count(repository: Repository, snapshots: Sequence[ListedSnapshot], mode: Mode) -> Stats:
    """Raises `DamagedData`, naming the folder, where a tree is lost."""
    if mode == "raw-data":
        return _raw_data(repository, snapshots)
    size = files = 0
    contents: set[bytes] = set()
    for done, listed in enumerate(snapshots):
        repository.emit(Progress("stats", done, len(snapshots), "snapshots", listed.id[:8]))
        linked: set[tuple[int, int]] = set()
        for entry in entries(repository, listed.snapshot.tree):
            node = entry.node
            if mode == "files-by-contents":
                content = hashlib.blake2b(b"".join(node.content), digest_size=16).digest()
                if content in contents:
                    continue
                contents.add(content)
            elif node.links > 1 and node.type != "dir" and node.inode:
                files += 1
                if (node.device_id, node.inode) not in linked:
                    linked.add((node.device_id, node.inode))
                    size += node.size
                continue
            files += 1
            size += node.size
    return Stats(len(snapshots), size, files)


def _raw_data(repository: Repository, snapshots: Sequence[ListedSnapshot]) -> Stats:
    used = used_blobs(repository, snapshots)
    size = raw = compressed = compressed_raw = 0
    for _blob_id, place in used.known():
        size += place.length
        raw += place.content_bytes + 32
        if place.raw_bytes:
            compressed += place.length
            compressed_raw += place.content_bytes + 32
    if repository.version < 2:
        raw = 0
    return Stats(len(snapshots), size, 0, len(used), raw, compressed, compressed_raw)


def used_blobs(repository: Repository, snapshots: Sequence[ListedSnapshot]) -> BlobSet:
    """Every blob that the snapshots reach; a tree that several hold is read once."""
    used = BlobSet(repository.index)

    def first_time(entry: Entry) -> bool:
        return used.add(bytes.fromhex(entry.node.subtree or ""))

    for done, listed in enumerate(snapshots):
        repository.emit(Progress("trees", done, len(snapshots), "snapshots", listed.id[:8]))
        if not used.add(bytes.fromhex(listed.snapshot.tree)):
            continue
        for entry in entries(repository, listed.snapshot.tree, enter=first_time):
            for blob in entry.node.content:
                used.add(blob)
    return used
