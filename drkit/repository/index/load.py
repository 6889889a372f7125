"""The index of a repository out of its index files: what this machine kept, the rest in bulk."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from drkit.errors import DamagedData
from drkit.events import Emit, Note
from drkit.repository.format.layout import INDEX
from drkit.repository.format.sealing import MasterKey
from drkit.repository.index.blobs import Index
from drkit.repository.index.cache import KeptIndex, keep_index, kept_index
from drkit.repository.index.columns import read_columns
from drkit.repository.index.objects import ObjectReader, open_unpacked
from drkit.repository.index.part import IndexPart
from drkit.stores.interface import Store

if TYPE_CHECKING:
    from drkit.repository.copies.fetch import Data, Request

_KEPT_AGAIN_AFTER = 8
_LIKELY_BYTES = 8 << 20


def load_index(
    objects: ObjectReader,
    stores: Sequence[Store],
    key: MasterKey,
    names: frozenset[str],
    emit: Emit,
) -> tuple[Index, bool]:
    """All blobs that the index files `names` list, and whether every file could be read. One that
    no store can give is told and left out: what it names is unknown then.
    """
    cache = objects.cache
    kept = kept_index(cache, key) if cache else None
    if kept is not None and kept.names <= names:
        index, missing = kept.index, names - kept.names
    else:
        index, missing = Index(), names
    if cache:
        cache.keep_only("index", frozenset(name.removeprefix(INDEX) for name in names))
    del kept
    whole = True
    keep = len(missing) >= _KEPT_AGAIN_AFTER
    for name, part in _parts(objects, stores, key, sorted(missing), keep_files=not keep):
        if isinstance(part, IndexPart):
            index.add_part(part)
        else:
            whole = False
            emit(Note("error", name, f"{part.message}: drkit repair index rebuilds it"))
    index.sort()
    if cache and whole and keep:
        keep_index(cache, key, index, names)
    return index, whole


def expected_index(objects: ObjectReader, key: MasterKey) -> KeptIndex | None:
    """The index that this machine expects to find, out of the local cache alone. None: nothing is
    kept, or not enough to be of use.
    """
    cache = objects.cache
    if cache is None:
        return None
    kept = kept_index(cache, key) or KeptIndex(Index(), frozenset())
    names = {INDEX + name for name in cache.names("index")} - kept.names
    if len(names) >= _KEPT_AGAIN_AFTER or not (names or kept.names):
        return None
    for name in sorted(names):
        plain = objects.kept_unpacked(name)
        part = _read(plain) if plain is not None else None
        if not isinstance(part, IndexPart):
            return None
        kept.index.add_part(part)
    kept.index.sort()
    return KeptIndex(kept.index, kept.names | names)


def _parts(
    objects: ObjectReader,
    stores: Sequence[Store],
    key: MasterKey,
    names: Sequence[str],
    *,
    keep_files: bool,
) -> Iterator[tuple[str, IndexPart | DamagedData]]:
    """Each index file's blobs, or why no store could give them, as they come. `keep_files`: in the
    local cache, where the index as a whole will not be kept.
    """

    def use(request: Request[str], _store: Store, data: Data) -> bytes:
        sealed = bytes(data)
        plain = open_unpacked(key, request.name, sealed)
        if keep_files:
            objects.keep_unpacked(request.name, sealed)
        return plain

    left = []
    kept = frozenset(objects.cache.names("index") if objects.cache else ())
    for name in names:
        is_kept = name.removeprefix(INDEX) in kept
        if is_kept and (plain := objects.kept_unpacked(name)) is not None:
            yield name, _read(plain)
        else:
            left.append(name)
    if not left:
        return
    from drkit.repository.copies.fetch import Fetcher, Got, Request

    with Fetcher[str, bytes](stores, use, on_trouble=objects.report) as fetcher:
        waiting = deque(left)
        while waiting or not fetcher.is_idle:
            while waiting and fetcher.has_room:
                name = waiting.popleft()
                fetcher.add(Request(name, name, size_bytes=_LIKELY_BYTES))
            for outcome in fetcher.outcomes():
                if isinstance(outcome, Got):
                    yield outcome.request.name, _read(outcome.result)
                else:
                    reasons = "; ".join(f"{s}: {w}" for s, w in outcome.request.reasons.items())
                    yield (
                        outcome.request.name,
                        DamagedData(
                            f"damaged or missing in every store ({reasons})", hint="drkit repair"
                        ),
                    )


def _read(plain: bytes) -> IndexPart | DamagedData:
    """In this thread alone: each thread that does it keeps the memory that it took."""
    try:
        return read_columns(plain)
    except DamagedData as error:  # every store's copy is the same: it was written so
        return error
