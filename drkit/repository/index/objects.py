"""Sealed objects and blobs, from the first copy that is right: every byte is hashed before it is
used (S11), and a store that hangs holds nobody up (S10).
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from drkit.errors import DamagedData, DrkitError
from drkit.events import Emit, Note
from drkit.repository.cache.local_cache import LocalCache
from drkit.repository.copies.reading import NoStoreCould, first_good
from drkit.repository.format.blob import open_blob
from drkit.repository.format.compression import decompress
from drkit.repository.format.layout import INDEX, SNAPSHOTS, pack_name
from drkit.repository.format.pack import BlobKind
from drkit.repository.format.sealing import MasterKey
from drkit.stores.interface import Store

if TYPE_CHECKING:
    from drkit.repository.index.blobs import Location

_KEPT_BYTES = 32 << 20
_PAGE_BYTES = 4 << 20
_SMALL_BYTES = 64 << 10
_CACHED = {INDEX: "index", SNAPSHOTS: "snapshots"}

PackEnd = Callable[[str], int | None]


def open_unpacked(key: MasterKey, name: str, sealed: bytes) -> bytes:
    """What the object `name` holds. `DamagedData` unless `sealed` has the hash in its name."""
    if hashlib.sha256(sealed).hexdigest() != name.rpartition("/")[2]:
        raise DamagedData("its bytes do not match its name", hint="drkit check --repair")
    plain = key.open(sealed)
    return decompress(memoryview(plain)[1:]) if plain[:1] == b"\x02" else plain


class ObjectReader:
    """Reads from `stores`, in their order until one is found slow; small things are kept."""

    def __init__(
        self, stores: tuple[Store, ...], key: MasterKey, emit: Emit, cache: LocalCache | None
    ) -> None:
        self._order = stores
        self._key = key
        self._emit = emit
        self.cache = cache
        self._lock = threading.Lock()
        self._blobs = _Kept()
        self._pages = _Kept()
        self._reported: set[tuple[str, str]] = set()

    @property
    def order(self) -> tuple[Store, ...]:
        """The stores, those last that were slower than another one."""
        return self._order

    def unpacked(self, name: str) -> bytes:
        """An index, snapshot or lock. Raises `DamagedData` when no store has a right copy."""
        kept = self.kept_unpacked(name)
        if kept is not None:
            return kept

        def attempt(store: Store) -> tuple[bytes, bytes]:
            sealed = store.get(name)
            return sealed, open_unpacked(self._key, name, sealed)

        try:
            sealed, plain = self._first(attempt, name)
        except NoStoreCould as error:
            raise DamagedData(
                f"{name} is damaged or missing in every store ({error.message})",
                hint="drkit check names what is lost",
            ) from None
        self.keep_unpacked(name, sealed)
        return plain

    def kept_unpacked(self, name: str) -> bytes | None:
        """What the local cache has of an index or snapshot; a wrong copy is dropped there."""
        folder, _, object_id = name.rpartition("/")
        kind = _CACHED.get(folder + "/")
        if self.cache is None or kind is None:
            return None
        sealed = self.cache.get(kind, object_id)
        if sealed is None:
            return None
        try:
            return open_unpacked(self._key, name, sealed)
        except DamagedData:
            self.cache.drop(kind, object_id)
            return None

    def keep_unpacked(self, name: str, sealed: bytes) -> None:
        folder, _, object_id = name.rpartition("/")
        if self.cache is not None and (kind := _CACHED.get(folder + "/")):
            self.cache.put(kind, object_id, sealed)

    def kept_blob(
        self, blob_id: bytes, places: Iterable[Location], pack_end: PackEnd
    ) -> bytes | None:
        """A blob that lies at `places`, if this machine has it: no store is asked."""
        if (known := self._blobs.get(blob_id)) is not None:
            return known
        kept = (self._from_kept(at, _pages(at, pack_end), blob_id) for at in places)
        return next((content for content in kept if content is not None), None)

    def blob(self, blob_id: bytes, places: Iterable[Location], pack_end: PackEnd) -> bytes:
        """The content of a blob that lies at `places`. `pack_end`: where a pack's last blob ends.

        Trees are read with what lies around them, because that is asked for next. Raises
        `DamagedData`, naming packs and stores, when no copy is right.
        """
        if (known := self._blobs.get(blob_id)) is not None:
            return known
        tried = []
        for place in places:
            pages = _pages(place, pack_end)
            content = self._from_kept(place, pages, blob_id)
            if content is None:
                try:
                    content = self._from_stores(place, pages, blob_id)
                except NoStoreCould as error:
                    tried.append(f"pack {place.pack_id[:8]}: {error.message}")
                    continue
            if len(content) <= _KEPT_BYTES // 8:
                self._blobs.put(blob_id, content)
            return content
        raise DamagedData(
            f"blob {blob_id.hex()[:8]} is lost in every store "
            f"({'; '.join(tried) or 'no index names it'})",
            hint="an older point may hold the file: drkit points"
            if tried
            else "an index may be gone: drkit check says whether packs are left that no index "
            "names, and drkit repair index names them again",
        )

    def report(self, store: str, name: str, what: str) -> None:
        """Tells, once for each object and store, that another copy is read."""
        with self._lock:
            if (store, name) in self._reported:
                return
            self._reported.add((store, name))
        self._emit(Note("warning", store, f"{name}: {what}; reading another copy"))

    def _first(
        self, attempt: Callable[[Store], tuple[bytes, bytes]], name: str
    ) -> tuple[bytes, bytes]:
        order = self._order
        failed: list[Store] = []

        def note(store: Store, error: DrkitError) -> None:
            failed.append(store)
            self.report(store.name, name, error.message)

        store, found = first_good(order, attempt, on_failure=note)
        slower = [s for s in order[: order.index(store)] if s not in failed]
        if slower:  # asked, and beaten by one that was asked later: from now on it is asked last
            self._order = (*(s for s in order if s not in slower), *slower)
        return found

    def _from_stores(self, place: Location, pages: range, blob_id: bytes) -> bytes:
        name = pack_name(place.pack_id)
        start, end = place.offset, place.offset + place.length
        if pages:
            start, end = pages.start, pages.stop

        def attempt(store: Store) -> tuple[bytes, bytes]:
            read = store.get(name, offset=start, length=end - start)
            sealed = memoryview(read)[place.offset - start :][: place.length]
            return read, open_blob(self._key, sealed, place.raw_bytes, blob_id)

        read, content = self._first(attempt, name)
        self._keep(place, pages, read, blob_id)
        return content

    def _keep(self, place: Location, pages: range, read: bytes, blob_id: bytes) -> None:
        for at in pages:
            page = read[at - pages.start :][:_PAGE_BYTES]
            page_name = f"{place.pack_id}-{at // _PAGE_BYTES}"
            self._pages.put(page_name, page)
            if self.cache is not None:
                self.cache.put("trees", page_name, page)
        if not pages and place.length <= _SMALL_BYTES and self.cache is not None:
            self.cache.put("blobs", blob_id.hex(), read)

    def _from_kept(self, place: Location, pages: range, blob_id: bytes) -> bytes | None:
        """The blob out of what was read before; what turns out wrong is forgotten."""
        names = [("trees", f"{place.pack_id}-{at // _PAGE_BYTES}") for at in pages]
        names = names or [("blobs", blob_id.hex())]
        pieces = []
        for kind, name in names:
            piece = self._pages.get(name)
            if piece is None and self.cache is not None and place.length <= _PAGE_BYTES:
                piece = self.cache.get(kind, name)
                if piece is not None and pages:
                    self._pages.put(name, piece)
            if piece is None:
                return None
            pieces.append(piece)
        read = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        start = place.offset - pages.start if pages else 0
        try:
            sealed = memoryview(read)[start : start + place.length]
            return open_blob(self._key, sealed, place.raw_bytes, blob_id)
        except DamagedData:
            for kind, name in names:
                self._pages.drop(name)
                if self.cache is not None:
                    self.cache.drop(kind, name)
            return None


def _pages(place: Location, pack_end: PackEnd) -> range:
    """Where the pages begin that hold a tree blob, up to where they end; empty: read it alone."""
    end = pack_end(place.pack_id) if place.kind is BlobKind.TREE else None
    if end is None or place.offset + place.length > end:
        return range(0)
    start = place.offset // _PAGE_BYTES * _PAGE_BYTES
    stop = -(-(place.offset + place.length) // _PAGE_BYTES) * _PAGE_BYTES
    return range(start, min(stop, end), _PAGE_BYTES)


class _Kept:
    """The bytes used last, up to a number of bytes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: OrderedDict[bytes | str, bytes] = OrderedDict()
        self._bytes = 0

    def get(self, name: bytes | str) -> bytes | None:
        with self._lock:
            if (found := self._held.get(name)) is not None:
                self._held.move_to_end(name)
            return found

    def put(self, name: bytes | str, content: bytes) -> None:
        with self._lock:
            if name not in self._held:
                self._held[name] = content
                self._bytes += len(content)
            while self._bytes > _KEPT_BYTES:
                self._bytes -= len(self._held.popitem(last=False)[1])

    def drop(self, name: bytes | str) -> None:
        with self._lock:
            self._bytes -= len(self._held.pop(name, b""))
