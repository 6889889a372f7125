"""A repository that several stores hold: made, opened, and read from whichever copy is sound."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from drkit.clock import Clock
from drkit.errors import DamagedData, DrkitError, GuardRefused, NoRepository, PlaceError
from drkit.events import Emit, Note
from drkit.repository.chunker import Chunker, ChunkerSettings
from drkit.repository.compression import decompress
from drkit.repository.identity import (
    exists,
    identity,
    no_repository,
    open_key,
    read_config,
    refuse_leftovers,
    refuse_stranger,
)
from drkit.repository.index import Index, Location
from drkit.repository.keys import ScryptCost, make_key_file
from drkit.repository.layout import (
    CONFIG,
    DRKIT,
    INDEX,
    KEYS,
    RESTORE_TXT,
    SNAPSHOTS,
    pack_name,
    restore_text,
)
from drkit.repository.polynomial import random_polynomial
from drkit.repository.sealing import MasterKey
from drkit.repository.snapshot import Snapshot, read_snapshot
from drkit.repository.tree import Node, decode_tree
from drkit.stores.interface import Store

_BLOB_CACHE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class InitReport:
    repository_id: str
    created: tuple[str, ...]
    already: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListedSnapshot:
    """A snapshot and the names of the stores that list it."""

    id: str
    snapshot: Snapshot
    stores: frozenset[str]


def init_repository(
    stores: Sequence[Store],
    password: str,
    *,
    clock: Clock,
    hostname: str,
    cost: ScryptCost | None = None,
) -> InitReport:
    """Creates one repository in all `stores`, or says that it is there. Never rewrites one (S8).

    Raises `GuardRefused` when some hold it and others do not: an empty store is joined by name.
    """
    present = [store for store in stores if exists(store)]
    if present:
        key = open_key(present, password)
        ids = {store.name: identity(store, key) for store in present}
        if len(set(ids.values())) > 1:
            raise GuardRefused(
                f"the stores hold different repositories: {ids}",
                hint="name the right buckets or prefixes in schedules.yaml",
            )
        if empty := [store.name for store in stores if store not in present]:
            raise GuardRefused(
                f"{', '.join(empty)} is empty, while {present[0].name} holds a repository",
                hint=f"join it by name: drkit init --store {empty[0]}",
            )
        return InitReport(next(iter(ids.values())), (), tuple(ids))
    for store in stores:
        refuse_leftovers(store)
    key = MasterKey.generate()
    repository_id = hashlib.sha256(key.derive("repository id")).hexdigest()
    config = orjson.dumps(
        {"version": 2, "id": repository_id, "chunker_polynomial": f"{random_polynomial():x}"}
    )
    key_file = make_key_file(
        key, password, cost=cost or ScryptCost(), clock=clock, hostname=hostname
    )
    objects = {
        RESTORE_TXT: restore_text(repository_id),
        KEYS + hashlib.sha256(key_file).hexdigest(): key_file,
        DRKIT: orjson.dumps({"drkit": 1, "chunker": ChunkerSettings().to_json()}),
        CONFIG: key.seal(config),  # last: a store without it holds no repository yet
    }
    for store in stores:
        for name, content in objects.items():
            store.put(name, content, size_bytes=len(content))
    return InitReport(repository_id, tuple(store.name for store in stores), ())


def join_store(stores: Sequence[Store], newcomer: Store, password: str) -> None:
    """Gives the empty `newcomer` the repository's config and keys; it catches up later (S12)."""
    holders = [store for store in stores if store is not newcomer and exists(store)]
    if not holders:
        raise no_repository(stores)
    if exists(newcomer):
        key = open_key(holders, password)
        if identity(newcomer, key) == identity(holders[0], key):
            return
    refuse_leftovers(newcomer)
    holder = holders[0]
    names = [info.name for info in holder.list(KEYS)]
    for name in (RESTORE_TXT, *names, DRKIT, CONFIG):
        content = holder.get(name)
        newcomer.put(name, content, size_bytes=len(content))


def open_repository(
    stores: Sequence[Store], password: str, *, clock: Clock, emit: Emit, hostname: str
) -> Repository:
    """The repository, as long as one store answers; `stores` are in the order to read from.

    Raises `NoRepository`, `WrongKey`, and `GuardRefused` for a store that holds another
    repository or came back empty (S12).
    """
    answering: list[Store] = []
    unreachable: dict[str, str] = {}
    empty: list[Store] = []
    for store in stores:
        try:
            (answering if exists(store) else empty).append(store)
        except PlaceError as error:
            unreachable[store.name] = error.message
            emit(Note("warning", store.name, error.message))
    if not answering:
        raise no_repository(stores)
    key = open_key(answering, password)
    repository_id, version = "", 2
    for store in tuple(answering):
        try:
            found, version = read_config(store, key)
        except PlaceError as error:
            unreachable[store.name] = error.message
        except DamagedData:
            refuse_stranger(store, answering)
            unreachable[store.name] = "its config is damaged; copy another store's there (S8)"
        else:
            if repository_id and found != repository_id:
                raise GuardRefused(
                    f"{store.name} holds the repository {found[:8]}, others {repository_id[:8]}",
                    hint="name the right bucket or prefix for it in schedules.yaml",
                )
            repository_id = found
            continue
        answering.remove(store)
        emit(Note("error", store.name, unreachable[store.name]))
    if not answering:
        raise NoRepository(
            f"no store's config can be read: {unreachable}",
            hint="copy the config of any good copy back; it is sealed, not secret",
        )
    for store in empty:
        name = store.name
        unreachable[name] = "it holds no repository"
        emit(Note("warning", name, f"holds no repository; to join it: drkit init --store {name}"))
    return Repository(
        repository_id,
        key,
        tuple(answering),
        unreachable,
        clock=clock,
        emit=emit,
        hostname=hostname,
        version=version,
    )


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
    ) -> None:
        self.id = repository_id
        self.version = version
        """restic's format; `refuse_format_1` stands before whatever writes packs."""
        self.key = key
        self.stores = stores
        self.unreachable = unreachable
        self.clock = clock
        self.emit = emit
        self.hostname = hostname
        self.chunker = Chunker(ChunkerSettings(), key)
        self._index: Index | None = None
        self._lock = threading.Lock()
        self._cache: OrderedDict[bytes, bytes] = OrderedDict()
        self._cached_bytes = 0
        self._reported: set[tuple[str, str]] = set()
        self._snapshots: dict[str, Snapshot] = {}

    @property
    def index(self) -> Index:
        """All blobs that any store's index names; loaded at first use."""
        with self._lock:
            if self._index is None:
                self._index = self._load_index()
            return self._index

    def forget_index(self) -> None:
        """Makes the next use of the index load it anew."""
        with self._lock:
            self._index = None

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
        for name, names in self._holders(SNAPSHOTS).items():
            try:
                if name not in self._snapshots:
                    self._snapshots[name] = read_snapshot(self.load_unpacked(name))
            except DamagedData as error:
                self.emit(Note("error", name, error.message))
                continue
            found.append(ListedSnapshot(name.removeprefix(SNAPSHOTS), self._snapshots[name], names))
        return sorted(found, key=lambda listed: (listed.snapshot.time, listed.id))

    def load_unpacked(self, name: str) -> bytes:
        """An index, snapshot or lock: from the first store whose copy has the right hash."""
        wanted = name.rpartition("/")[2]
        tried = []
        for store in self.stores:
            try:
                sealed = store.get(name)
            except DrkitError as error:
                tried.append(f"{store.name}: {error.message}")
                continue
            if hashlib.sha256(sealed).hexdigest() == wanted:
                plain = self.key.open(sealed)
                return decompress(memoryview(plain)[1:]) if plain[:1] == b"\x02" else plain
            tried.append(f"{store.name}: wrong bytes")
            self._report(store, name, "its bytes do not match its name")
        raise DamagedData(
            f"{name} is damaged or missing in every store ({'; '.join(tried)})",
            hint="drkit check names what is lost",
        )

    def load_blob(self, blob_id: bytes) -> bytes:
        """The blob's content, from the first store and pack whose copy is right.

        Raises `DamagedData`, naming pack and stores, when none is.
        """
        with self._lock:
            if (cached := self._cache.get(blob_id)) is not None:
                self._cache.move_to_end(blob_id)
                return cached
        tried = []
        for place in self.index.find_all(blob_id):
            for store in self.stores:
                try:
                    content = self._read(store, place, blob_id)
                except DrkitError as error:
                    tried.append(f"{store.name}: pack {place.pack_id[:8]}: {error.message}")
                    self._report(store, pack_name(place.pack_id), error.message)
                    continue
                self._remember(blob_id, content)
                return content
        raise DamagedData(
            f"blob {blob_id.hex()[:8]} is lost in every store "
            f"({'; '.join(tried) or 'no index names it'})",
            hint="an older point may hold the file: drkit points",
        )

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

    def _read(self, store: Store, place: Location, blob_id: bytes) -> bytes:
        sealed = store.get(pack_name(place.pack_id), offset=place.offset, length=place.length)
        content = self.key.open(sealed)
        if place.raw_bytes:
            content = decompress(content, max_raw_bytes=place.raw_bytes)
        if hashlib.sha256(content).digest() != blob_id:
            raise DamagedData("wrong bytes under a valid seal", hint="drkit check --read-data")
        return content

    def _remember(self, blob_id: bytes, content: bytes) -> None:
        if len(content) > _BLOB_CACHE_BYTES // 8:
            return
        with self._lock:
            if blob_id not in self._cache:
                self._cache[blob_id] = content
                self._cached_bytes += len(content)
            while self._cached_bytes > _BLOB_CACHE_BYTES:
                self._cached_bytes -= len(self._cache.popitem(last=False)[1])

    def _report(self, store: Store, name: str, what: str) -> None:
        if (store.name, name) not in self._reported:
            self._reported.add((store.name, name))
            self.emit(Note("warning", store.name, f"{name}: {what}; reading another copy"))

    def _load_index(self) -> Index:
        index = Index()
        for name in sorted(self._holders(INDEX)):
            try:
                index.load(self.load_unpacked(name))
            except DamagedData as error:  # what it names is unknown; the rest can be read
                self.emit(Note("error", name, f"{error.message}: restic repair index rebuilds it"))
        index.sort()
        return index

    def _holders(self, folder: str) -> dict[str, frozenset[str]]:
        """Objects below `folder` with the names of the stores that list them.

        A store that does not answer is left out, as long as another one does.
        """
        found: dict[str, set[str]] = {}
        problem: DrkitError | None = None
        answers = 0
        for store in self.stores:
            try:
                for info in store.list(folder):
                    found.setdefault(info.name, set()).add(store.name)
                answers += 1
            except PlaceError as error:
                problem = error
                self._report(store, folder, error.message)
        if problem and not answers:
            raise problem
        return {name: frozenset(stores) for name, stores in found.items()}
