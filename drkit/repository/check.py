"""Is the repository sound, in each store by itself? Structure always; every byte when asked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from drkit.errors import DamagedData, DrkitError
from drkit.events import Emit, Progress
from drkit.repository.compression import decompress
from drkit.repository.layout import DATA, INDEX, SNAPSHOTS, pack_name
from drkit.repository.pack import PackedBlob, read_header
from drkit.repository.repository import Repository
from drkit.stores.interface import Store


@dataclass(frozen=True, slots=True)
class StoreCheck:
    """What one store holds and what is wrong there. `lacks` are objects that others have."""

    packs: int
    bytes_read: int
    problems: tuple[str, ...]
    lacks: int

    @property
    def sound(self) -> bool:
        return not self.problems and not self.lacks


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Each store by itself, and what is lost because no store has a good copy."""

    stores: Mapping[str, StoreCheck]
    lost: tuple[str, ...]

    @property
    def sound(self) -> bool:
        return not self.lost and all(check.sound for check in self.stores.values())


def check_repository(repository: Repository, *, read_data: bool, emit: Emit) -> CheckReport:
    """What is wrong, by store. Reads indexes, snapshots and trees; with `read_data` every pack."""
    repository.forget_index()
    expected = repository.index.blobs_by_pack()
    listings: dict[Store, dict[str, int] | DrkitError] = {}
    for store in repository.stores:
        try:
            listings[store] = {
                info.name: info.size_bytes
                for folder in (DATA, INDEX, SNAPSHOTS)
                for info in store.list(folder)
            }
        except DrkitError as error:
            listings[store] = error
    wanted = {pack_name(pack_id) for pack_id in expected} | {
        name
        for names in listings.values()
        if isinstance(names, dict)
        for name in names
        if not name.startswith(DATA)
    }
    checks = {
        store.name: _check_store(repository, store, names, wanted, expected, read_data, emit)
        for store, names in listings.items()
    }
    for name, reason in repository.unreachable.items():
        checks[name] = StoreCheck(0, 0, (reason,), 0)
    return CheckReport(checks, tuple(_lost(repository)))


def _check_store(
    repository: Repository,
    store: Store,
    names: dict[str, int] | DrkitError,
    wanted: set[str],
    expected: Mapping[str, list[PackedBlob]],
    read_data: bool,
    emit: Emit,
) -> StoreCheck:
    if isinstance(names, DrkitError):
        return StoreCheck(0, 0, (names.message,), 0)
    problems = []
    bytes_read = 0
    held = sorted(wanted & names.keys())
    for done, name in enumerate(held):
        emit(Progress(f"check {store.name}", done, len(held), "packs", name))
        try:
            if not name.startswith(DATA):
                _check_unpacked(repository, store, name)
                continue
            blobs = expected[name.rpartition("/")[2]]
            if (size := names[name]) < sum(blob.length for blob in blobs):
                raise DamagedData(f"is cut off at {size} bytes", hint="")
            if read_data:
                bytes_read += _check_pack(repository, store, name, blobs)
        except DrkitError as error:
            problems.append(f"{name}: {error.message}")
    packs = sum(name.startswith(DATA) for name in held)
    return StoreCheck(packs, bytes_read, tuple(problems), len(wanted) - len(held))


def _check_unpacked(repository: Repository, store: Store, name: str) -> None:
    sealed = store.get(name)
    if hashlib.sha256(sealed).hexdigest() != name.rpartition("/")[2]:
        raise DamagedData("its bytes do not match its name", hint="")
    repository.key.open(sealed)


def _check_pack(repository: Repository, store: Store, name: str, blobs: list[PackedBlob]) -> int:
    pack = store.get(name)
    if hashlib.sha256(pack).hexdigest() != name.rpartition("/")[2]:
        raise DamagedData("its bytes do not match its name", hint="")
    if list(read_header(pack, repository.key)) != blobs:
        raise DamagedData("its header and the index differ", hint="")
    view = memoryview(pack)
    for blob in blobs:
        content = repository.key.open(view[blob.offset : blob.offset + blob.length])
        if blob.raw_bytes:
            content = decompress(content, max_raw_bytes=blob.raw_bytes)
        if hashlib.sha256(content).digest() != blob.id:
            raise DamagedData(f"blob {blob.id.hex()[:8]} has other content", hint="")
    return len(pack)


def _lost(repository: Repository) -> list[str]:
    """What the snapshots reach and no store can give: directories, and blobs that no index has."""
    lost: list[str] = []
    seen: set[str] = set()

    def visit(tree_id: str, path: str) -> None:
        if tree_id in seen:
            return
        seen.add(tree_id)
        try:
            nodes = repository.load_tree(tree_id)
        except DamagedData as error:
            lost.append(f"{path or '/'}: {error.message}")
            return
        for node in nodes:
            below = f"{path}/{node.name.decode('utf-8', 'backslashreplace')}"
            if node.type == "dir" and node.subtree:
                visit(node.subtree, below)
            elif any(repository.index.find(blob) is None for blob in node.content):
                lost.append(f"{below}: a blob of it is in no index")

    for listed in repository.snapshots():
        visit(listed.snapshot.tree, "")
    return lost
