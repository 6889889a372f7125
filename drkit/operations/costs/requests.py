"""How many requests of a store each operation makes: upper bounds, held against counts of the
real code in tests/unit/operations/costs/test_request_counts.py. Pure.
"""

from __future__ import annotations

from math import ceil

from drkit.stores.counted import PAGE, Counts

PACK_BYTES = 16 << 20
# What a backup sends beside new content: changed trees, their index, the snapshot, lock and ledger.
OVERHEAD_BYTES = 64 << 10
_LEDGER_BYTES_PER_SNAPSHOT = 160
_INDEX_SHARE = 0.001
# Small files of a pack are read a few at a time, weights by ranges.
LEAST_READ_BYTES = 64 << 10
LEAST_RANGE_BYTES = 1 << 20
_MIRROR_READ_BYTES = 8 << 20  # what a check reads of a mirrored file at once


def objects(snapshots: float, stored_bytes: float) -> float:
    """How many a store lists: a snapshot, an index and two small packs of each backup, and packs
    of content, before anything is merged.
    """
    return 4 * snapshots + stored_bytes / PACK_BYTES


def backup_requests(new_bytes: float, snapshots: float, stored_bytes: float) -> Counts:
    """One backup that adds `new_bytes` to a repository of that size, on a machine that has its
    local cache. Everything is listed twice.
    """
    return Counts(
        puts=7 + ceil(new_bytes / PACK_BYTES),
        gets=4,
        lists=3 + 2 * int(objects(snapshots, stored_bytes) // PAGE),
        stats=2,
        deletes=1,
        sent_bytes=int(new_bytes + OVERHEAD_BYTES + _LEDGER_BYTES_PER_SNAPSHOT * snapshots),
        read_bytes=64 << 10,
    )


def mirror_requests(files: int, new_bytes: float) -> Counts:
    """One look at a mirror of so many files; with `new_bytes`, all of them sent anew."""
    return Counts(
        puts=files + 1 if new_bytes else 0,
        gets=3,
        lists=2 + files // PAGE,
        sent_bytes=int(new_bytes),
        read_bytes=1 << 20,
    )


def mirror_check_requests(files: int) -> Counts:
    """One look at a mirror's listing and manifest, before any of its files is read."""
    return Counts(gets=2, lists=2 + files // PAGE, read_bytes=2 << 20)


def mirror_read_requests(files: int, size_bytes: float) -> Counts:
    """So many mirrored files read back and hashed."""
    ranges = files + ceil(size_bytes / _MIRROR_READ_BYTES)
    return Counts(gets=ranges, stats=files, read_bytes=int(size_bytes))


def check_requests(snapshots: float, stored_bytes: float) -> Counts:
    """A check of the structure: every listing, snapshot, index file and pack of trees."""
    return Counts(
        gets=4 + 5 * ceil(snapshots),
        lists=6 + int(objects(snapshots, stored_bytes) // PAGE),
        read_bytes=int(2048 * snapshots + _INDEX_SHARE * stored_bytes) + (1 << 20),
    )


def read_requests(size_bytes: float, *, least_bytes: int = LEAST_READ_BYTES) -> Counts:
    """Content read back and hashed, for a restore or a proof, `least_bytes` or more at a time."""
    return Counts(gets=8 + ceil(size_bytes / least_bytes), lists=4, read_bytes=int(size_bytes))


def prune_requests(snapshots: float, stored_bytes: float, repacked_bytes: float) -> Counts:
    """A listing of all there is, and what must be written anew because half of it is needed."""
    repacked = ceil(repacked_bytes / PACK_BYTES)
    return Counts(
        puts=8 + repacked,
        gets=4 + 2 * ceil(snapshots) + repacked,
        lists=6 + int(objects(snapshots, stored_bytes) // PAGE),
        deletes=2 * repacked,
        sent_bytes=int(repacked_bytes),
        read_bytes=int(repacked_bytes + 2048 * snapshots + _INDEX_SHARE * stored_bytes),
    )
