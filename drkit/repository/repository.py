"""A repository that several stores hold: made, opened, and read from whichever copy is sound."""

from __future__ import annotations

import re
import stat
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from drkit.clock import Clock
from drkit.errors import DamagedData, DrkitError, GuardRefused, NoRepository, PlaceError, WrongKey
from drkit.events import Emit, Note
from drkit.io_policy import READS
from drkit.repository.cache.keeping import keep_sent
from drkit.repository.cache.local_cache import LocalCache
from drkit.repository.cache.resting import KIND as RESTING
from drkit.repository.cache.resting import RestingMemory
from drkit.repository.copies.chunker_settings import read_settings
from drkit.repository.copies.listing import Listing
from drkit.repository.copies.reading import NoStoreCould, ask_each, first_good
from drkit.repository.create import init_repository as init_repository
from drkit.repository.create import is_unfinished as is_unfinished
from drkit.repository.create import join_store as join_store
from drkit.repository.format.chunker import Chunker
from drkit.repository.format.identity import agreed_identity, find_key, no_repository
from drkit.repository.format.layout import CONFIG, INDEX, SNAPSHOTS
from drkit.repository.format.sealing import MasterKey
from drkit.repository.format.snapshot import Snapshot, read_snapshot
from drkit.repository.format.tree import Node, decode_tree
from drkit.repository.index.objects import ObjectReader
from drkit.stores.interface import Buffer, ObjectMissing, Store

if TYPE_CHECKING:
    from drkit.repository.index.blobs import Index
    from drkit.repository.index.cache import KeptIndex

_KEY_PATIENCE_S = 5.0  # scrypt alone may take a second on a slow machine

_ID = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ListedSnapshot:
    """A snapshot and the names of the stores that list it."""

    id: str
    snapshot: Snapshot
    stores: frozenset[str]

    @property
    def order(self) -> tuple[datetime, bool, str]:
        """Older before newer. restic leaves two of one time to the order of a listing; here the one
        that was written anew (other tags, or repaired) comes after what it was written from.
        """
        return self.snapshot.time, self.snapshot.original is not None, self.id


def open_repository(
    stores: Sequence[Store],
    password: str,
    *,
    clock: Clock,
    emit: Emit,
    hostname: str,
    cache_dir: Path | None = None,
    patience_s: float = READS.open_patience_s,
    needed: int = 1,
    retry_lock_s: float = 0.0,
) -> Repository:
    """The repository, as long as one store answers; `stores` are in the order to read from.

    A store that says nothing for `patience_s` after `needed` others have answered is `unreachable`
    in this run: who must write to several waits for as many. For `retry_lock_s` a lock that
    somebody else holds is tried again. Below `cache_dir` lies what is safe to delete at any time.
    Raises `NoRepository`, `WrongKey`, and `GuardRefused` for a store that holds another repository
    or came back empty (S12).
    """
    configs: dict[Store, bytes] = {}
    unreachable: dict[str, str] = {}
    empty: list[Store] = []
    for store, answer in ask_each(stores, _config_of, patience_s=patience_s, needed=needed).items():
        if isinstance(answer, bytes):
            configs[store] = answer
        elif isinstance(answer, ObjectMissing):
            empty.append(store)
        elif isinstance(answer, PlaceError):
            unreachable[store.name] = answer.message
            emit(Note("warning", store.name, answer.message))
        else:
            raise answer
    if not configs:
        raise no_repository(stores)
    key = _key(tuple(configs), password, cache_dir)
    agreed = agreed_identity(configs, key, emit)
    unreachable |= agreed.damaged
    if not agreed.stores:
        raise NoRepository(
            f"no store's config can be read: {unreachable}",
            hint="copy the config of any good copy back; it is sealed, not secret",
        )
    for store in empty:
        name = store.name
        unreachable[name] = "it holds no repository"
        emit(Note("warning", name, f"holds no repository; to join it: drkit init --store {name}"))
    return Repository(
        agreed.repository_id,
        key,
        agreed.stores,
        unreachable,
        clock=clock,
        emit=emit,
        hostname=hostname,
        version=agreed.version,
        cache=LocalCache(cache_dir / agreed.repository_id[:16], emit) if cache_dir else None,
        needed=needed,
        retry_lock_s=retry_lock_s,
    )


def _config_of(store: Store) -> bytes:
    return store.get(CONFIG)


def _key(stores: Sequence[Store], password: str, cache_dir: Path | None) -> MasterKey:
    """The master key. Which key file the password opened last time is a name that is kept, no more:
    a key that was removed opens nothing.
    """
    hint = cache_dir / "key-file" if cache_dir else None
    likely = _read_hint(hint) if hint else None
    try:
        key, name = first_good(
            stores, lambda store: find_key([store], password, likely), hedge_s=_KEY_PATIENCE_S
        )[1]
    except NoStoreCould as error:
        found = list(error.reasons.values())
        raise next((e for e in found if isinstance(e, WrongKey)), found[0]) from None
    if hint is not None and name != likely:
        with suppress(OSError):
            hint.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            hint.unlink(missing_ok=True)  # whatever lies there, a link or a pipe, is not written to
            hint.write_text(name)
    return key


def _read_hint(path: Path) -> str | None:
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return None
        text = path.read_text(errors="replace").strip()
    except OSError:
        return None
    return text if _ID.fullmatch(text) else None


class Repository:
    """An open repository. Every byte it hands out was checked against its hash (S11)."""

    def __init__(
        self,
        repository_id: str,
        key: MasterKey,
        stores: tuple[Store, ...],
        unreachable: Mapping[str, str],
        *,
        clock: Clock,
        emit: Emit,
        hostname: str,
        version: int = 2,
        cache: LocalCache | None = None,
        needed: int = 1,
        retry_lock_s: float = 0.0,
    ) -> None:
        self.id = repository_id
        self.needed = needed
        self.retry_lock_s = retry_lock_s
        self.version = version
        """restic's format; `refuse_format_1` stands before whatever writes packs."""
        self.key = key
        self.stores = stores
        self.unreachable = unreachable
        self.clock = clock
        self.emit = emit
        self.hostname = hostname
        self._chunker: Chunker | None = None
        self._index: Index | None = None
        self._known: KeptIndex | None = None
        self._lock = threading.Lock()
        self._objects = ObjectReader(stores, key, emit, cache)
        self._snapshots: dict[str, Snapshot] = {}
        self._listings: Mapping[Store, Listing] = {}

    @property
    def index(self) -> Index:
        """All blobs that any store's index names; loaded at first use."""
        with self._lock:
            if self._index is None:
                self._index = self._load_index()
            return self._index

    @property
    def index_is_whole(self) -> bool:
        """Whether every index file that a store lists could be read; of what others say, the index
        knows nothing.
        """
        return self.index is not None and self._known is not None

    @property
    def chunker(self) -> Chunker:
        """Cuts as drkit.json pins it; asked for at first use. Without one: as new repositories."""
        with self._lock:
            if self._chunker is None:
                self._chunker = Chunker(read_settings(self.stores, self.emit), self.key)
            return self._chunker

    def forget_index(self) -> None:
        """Makes the next use of the index load it anew, or find that it is as it was: an index file
        is named after what it says.
        """
        with self._lock:
            self._index = None
            self._listings = {}

    def use_listings(self, listings: Mapping[Store, Listing]) -> None:
        """Takes what these stores list from `listings`, not from them, until the index is
        forgotten: one request instead of one for each kind of object.
        """
        with self._lock:
            self._listings = listings

    def keep_sent(self, name: str, pieces: Sequence[Buffer]) -> None:
        """Keeps a copy on this machine of what the next run will want to read."""
        if self._objects.cache is not None:
            keep_sent(self._objects.cache, self.key, name, pieces)

    def drop_cached(self) -> None:
        """Forgets on this machine what files and folders held; it is read again when asked for."""
        if self._objects.cache is not None:
            for kind in ("trees", "blobs", RESTING):
                self._objects.cache.keep_only(kind, frozenset())

    def refuse_format_1(self) -> None:
        """`GuardRefused` for format 1, which has no compression: drkit reads it, no more."""
        if self.version < 2:
            raise GuardRefused(
                "the repository has restic's old format 1, which drkit only reads",
                hint="raise it first, in every store: restic migrate upgrade_repo_v2",
            )

    def snapshots(self) -> list[ListedSnapshot]:
        """Every snapshot that some store lists, oldest first. One that is damaged is noted."""
        found = []
        holders = self._holders(SNAPSHOTS)
        for name in self._snapshots.keys() - holders.keys():  # expected, and gone meanwhile
            self._snapshots.pop(name, None)
            if self._objects.cache is not None:
                self._objects.cache.drop("snapshots", name.removeprefix(SNAPSHOTS))
        for name, names in holders.items():
            try:
                if name not in self._snapshots:
                    self._snapshots[name] = read_snapshot(self.load_unpacked(name))
            except DamagedData as error:
                self.emit(Note("error", name, error.message))
                continue
            found.append(ListedSnapshot(name.removeprefix(SNAPSHOTS), self._snapshots[name], names))
        return sorted(found, key=lambda listed: listed.order)

    def load_unpacked(self, name: str) -> bytes:
        """An index, snapshot or lock: from the first store whose copy has the right hash."""
        return self._objects.unpacked(name)

    def load_blob(self, blob_id: bytes) -> bytes:
        """The blob's content, from the first store and pack whose copy is right.

        Raises `DamagedData`, naming pack and stores, when none is.
        """
        index = self.index
        return self._objects.blob(blob_id, index.find_all(blob_id), index.pack_end)

    @property
    def reading_order(self) -> tuple[Store, ...]:
        """The stores, those last that were found slow in this run."""
        return self._objects.order

    def note_trouble(self, store: str, name: str, why: str) -> None:
        """Tells, once for each object and store, that another copy is read."""
        self._objects.report(store, name, why)

    def load_tree(self, tree_id: str) -> tuple[Node, ...]:
        return decode_tree(self.load_blob(bytes.fromhex(tree_id)))

    def find_node(self, snapshot: Snapshot, path: str) -> Node:
        """The node at `path` ("/sncp/a"). Raises `DamagedData` when the snapshot has none."""
        tree_id: str | None = snapshot.tree
        node: Node | None = None
        for part in path.strip("/").encode("utf-8", "surrogateescape").split(b"/"):
            nodes = self.load_tree(tree_id) if tree_id else ()
            node = next((entry for entry in nodes if entry.name == part), None)
            tree_id = node.subtree if node else None
        if node is None:
            raise DamagedData(f"the snapshot has no {path}", hint="drkit points lists others")
        return node

    def read_file(self, snapshot: Snapshot, path: str) -> bytes:
        """The whole content of a small file."""
        return b"".join(map(self.load_blob, self.find_node(snapshot, path).content))

    def expected(self) -> tuple[Snapshot, ...]:
        """The snapshots that this machine expects to find, oldest first, asking no store; the index
        is loaded with them. What the stores list decides later: only what they list is used.
        """
        from drkit.repository.index.load import expected_index

        cache = self._objects.cache
        with self._lock:
            self._known = expected_index(self._objects, self.key)
            if cache is None or self._known is None:
                return ()
        for snapshot_id in cache.names("snapshots"):
            name = SNAPSHOTS + snapshot_id
            if name not in self._snapshots and (plain := self._objects.kept_unpacked(name)):
                with suppress(DamagedData):
                    self._snapshots[name] = read_snapshot(plain)
        return tuple(sorted(self._snapshots.values(), key=lambda snapshot: snapshot.time))

    @property
    def resting(self) -> RestingMemory | None:
        """Which folders were as a tree says, where this machine keeps it."""
        cache = self._objects.cache
        return RestingMemory(cache, self.key) if cache else None

    def kept_blob(self, blob_id: bytes) -> bytes | None:
        """A blob of what is `expected`, if this machine has it."""
        if self._known is None:
            return None
        index = self._known.index
        return self._objects.kept_blob(blob_id, index.find_all(blob_id), index.pack_end)

    def _load_index(self) -> Index:
        from drkit.repository.index.cache import KeptIndex
        from drkit.repository.index.load import load_index

        names, known = frozenset(self._holders(INDEX)), self._known
        if known is not None and known.names == names and known.index.is_as_loaded:
            return known.index
        self._known = known = None
        index, whole = load_index(self._objects, self.stores, self.key, names, self.emit)
        self._known = KeptIndex(index, names) if whole else None
        return index

    def _holders(self, folder: str) -> dict[str, frozenset[str]]:
        """Objects below `folder` with the names of the stores that list them. What is not named
        by a SHA-256 is nobody's and is passed over.

        A store that does not answer is left out, as long as another one does.
        """
        if self._listings and folder in (INDEX, SNAPSHOTS):
            return _holders_in(self._listings, folder)
        found: dict[str, set[str]] = {}
        problem: DrkitError | None = None
        answers = ask_each(self.stores, lambda store: [info.name for info in store.list(folder)])
        for store, names in answers.items():
            if isinstance(names, DrkitError):
                problem = names
                self.note_trouble(store.name, folder, names.message)
                continue
            for name in names:
                if _ID.fullmatch(name, len(folder)):
                    found.setdefault(name, set()).add(store.name)
        if problem and all(isinstance(names, DrkitError) for names in answers.values()):
            raise problem
        return {name: frozenset(stores) for name, stores in found.items()}


def _holders_in(listings: Mapping[Store, Listing], folder: str) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for store, listing in listings.items():
        for object_id in listing.indexes if folder == INDEX else listing.snapshots:
            found.setdefault(folder + object_id, set()).add(store.name)
    return {name: frozenset(stores) for name, stores in found.items()}
