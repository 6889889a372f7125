"""What the measured children of some cases do, in processes of their own.

What only one of them needs is imported there: imports are measured too.
"""

from __future__ import annotations

import json
import random
import threading
import time
from pathlib import Path

from bench.tools import PASSWORD
from drkit.clock import SystemClock
from drkit.events import discard
from drkit.io_policy import READS
from drkit.repository.create import init_repository
from drkit.repository.format.keys import ScryptCost
from drkit.repository.format.layout import INDEX, pack_name
from drkit.repository.format.pack import BlobKind, PackedBlob, SealedPack
from drkit.repository.format.unpacked import seal_unpacked
from drkit.repository.index.blobs import index_content
from drkit.repository.repository import Repository, open_repository
from drkit.repository.restore.restore import restore_tree
from drkit.stores.counted import CountedStore
from drkit.stores.folder import FolderStore
from drkit.stores.interface import Store, StoreUnreachable

_BLOBS_IN_PACK = 40


def opened(stores: list[Store], cache: Path | None = None, patience_s: float = 4.0) -> Repository:
    return open_repository(
        stores,
        PASSWORD,
        clock=SystemClock(),
        emit=discard,
        hostname="bench",
        cache_dir=cache,
        patience_s=patience_s,
    )


def make_indexes(root: str, *sizes: str) -> None:
    """A repository whose index files name so many blobs; the packs are not there."""
    large, in_large, small, in_small = map(int, sizes)
    store = FolderStore("gcs", Path(root))
    init_repository(
        [store], PASSWORD, clock=SystemClock(), hostname="bench", cost=ScryptCost(n=1 << 14)
    )
    key = opened([store]).key
    rng = random.Random(1)
    for count in [in_large] * large + [in_small] * small:
        packs = []
        for start in range(0, count, _BLOBS_IN_PACK):
            blobs, offset = [], 0
            for _ in range(min(_BLOBS_IN_PACK, count - start)):
                length = rng.randrange(200, 900_000)
                raw = length * 3 if rng.random() < 0.8 else 0
                blobs.append(PackedBlob(rng.randbytes(32), BlobKind.DATA, offset, length, raw))
                offset += length
            packs.append(SealedPack(rng.randbytes(32).hex(), tuple(blobs), (), offset))
        name, sealed = seal_unpacked(key, index_content(packs))
        store.put(INDEX + name, sealed, size_bytes=len(sealed))


def open_index(root: str, cache: str, told: str) -> None:
    """Opens the repository below `root`; tells how many blobs there are, and the requests."""
    store = CountedStore(FolderStore("gcs", Path(root)))
    index = opened([store], Path(cache)).index
    Path(told).write_text(json.dumps({"blobs": index.rows, "requests": store.counts.requests}))


def maintain_index(root: str) -> None:
    """What a prune does for the index of a repository: few files for many. The packs are made to be
    there, as holes.
    """
    from drkit.repository.levels.catch_up import catch_up
    from drkit.repository.locks.locks import take_locks
    from drkit.repository.prune.consolidate import tidy_indexes

    store = FolderStore("gcs", Path(root))
    repository = opened([store])
    for pack_id, size_bytes in repository.index.pack_sizes().items():
        path = Path(root, pack_name(pack_id))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(size_bytes)
    locks = take_locks(repository, exclusive=True, need_all=True, emit=discard)
    try:
        tidy_indexes(repository, catch_up(repository, locks.listings, discard), discard)
    finally:
        locks.release(discard)


def back_up_counted(config: str, told: str) -> None:
    """`drkit backup` of the deployment `config`; tells the most that a store was asked for."""
    from concurrent.futures import Future

    from drkit.cli.repository.backing_up import run_backup
    from drkit.config.load import load_config
    from drkit.repository.locks.locks import Locks, take_locks
    from drkit.wiring import App

    path = Path(config)
    app = App(load_config(path), path.parent, sandbox=False, emit=discard)
    counted = [CountedStore(store) for store in app.stores]
    app.__dict__["stores"] = tuple(counted)
    locking: Future[Locks | None] = Future()
    locking.set_result(take_locks(app.repository, exclusive=False, need_all=False, emit=discard))
    report = run_backup(app, locking=locking)
    assert report.whole, report
    most = max(store.counts.requests for store in counted)
    Path(told).write_text(json.dumps({"requests": most, "new": report.write.files_new}))


class Wire:
    """A line of so many bytes a second that all requests of a store share, and its latency."""

    def __init__(self, bytes_per_s: float, latency_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._latency_s = latency_s
        self._lock = threading.Lock()
        self._free_at = 0.0

    def carry(self, size_bytes: int, *, latency: bool = True) -> None:
        time.sleep(self._latency_s if latency else 0)
        for at in range(0, size_bytes, 64 << 10):
            with self._lock:
                now = time.monotonic()
                self._free_at = max(now, self._free_at)
                self._free_at += min(64 << 10, size_bytes - at) / self._bytes_per_s
                wait_s = self._free_at - now
            time.sleep(max(0.0, wait_s))


class Far(FolderStore):
    """A folder behind such a line; one that hangs takes requests and never answers."""

    def __init__(self, name: str, root: Path, *, hangs: bool) -> None:
        super().__init__(name, root)
        self._wire = Wire(100e6 / 8, 0.05)
        self._hangs = hangs

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        self._wait()
        data = super().get(name, offset=offset, length=length)
        self._wire.carry(len(data))
        return data

    def get_into(self, name: str, into: memoryview, *, offset: int) -> None:
        into[:] = self.get(name, offset=offset, length=len(into))

    def list(self, prefix: str):  # type: ignore[no-untyped-def]
        self._wait()
        found = [*super().list(prefix)]
        self._wire.carry(100 * len(found))
        return iter(found)

    def _wait(self) -> None:
        if self._hangs:
            time.sleep(60)
            raise StoreUnreachable("hung", hint="")


def restore_from_afar(root: str, out: str, hung: str) -> None:
    """Restores the newest snapshot out of three far stores, of which `hung` hangs ("": none)."""
    stores: list[Store] = [
        Far(name, Path(root, name), hangs=name == hung) for name in ("gcs", "s3", "b2")
    ]
    repository = opened(stores, patience_s=READS.restore_patience_s)
    snapshot = repository.snapshots()[-1].snapshot
    node = repository.find_node(snapshot, "/tree")
    restore_tree(repository, node, Path(out), discard)
