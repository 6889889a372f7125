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
    checks: dict[str, StoreCheck] = {}
    gone: set[bytes] | None = None
    for store, names in listings.items():
        if isinstance(names, DrkitError):
            checks[store.name] = StoreCheck(0, 0, (names.message,), 0)
            continue
        bad: set[bytes] = set()
        checks[store.name] = _check_store(
            repository, store, names, wanted, expected, read_data, bad, emit
        )
        gone = bad if gone is None else gone & bad
    for name, reason in repository.unreachable.items():
        checks[name] = StoreCheck(0, 0, (reason,), 0)
    return CheckReport(checks, tuple(_lost(repository, gone or set())))


def _check_store(
    repository: Repository,
    store: Store,
    names: dict[str, int],
    wanted: set[str],
    expected: Mapping[str, list[PackedBlob]],
    read_data: bool,
    bad: set[bytes],
    emit: Emit,
) -> StoreCheck:
    """One store's state; `bad` gets the blobs that it cannot give."""
    problems = []
    bytes_read = 0
    sizes = repository.index.pack_sizes()
    for pack_id, blobs in expected.items():
        if pack_name(pack_id) not in names:
            bad.update(blob.id for blob in blobs)
    held = sorted(wanted & names.keys())
    for done, name in enumerate(held):
        emit(Progress(f"check {store.name}", done, len(held), "packs", name))
        try:
            if not name.startswith(DATA):
                _check_unpacked(repository, store, name)
                continue
            pack_id = name.rpartition("/")[2]
            blobs = expected[pack_id]
            if names[name] != sizes[pack_id]:
                bad.update(blob.id for blob in blobs)
                raise DamagedData(f"has {names[name]} bytes, not {sizes[pack_id]}", hint="")
            if read_data:
                bytes_read += names[name]
                _check_pack(repository, store, name, blobs, bad)
        except DrkitError as error:
            problems.append(f"{name}: {error.message}")
    packs = sum(name.startswith(DATA) for name in held)
    return StoreCheck(packs, bytes_read, tuple(problems), len(wanted) - len(held))


def _check_unpacked(repository: Repository, store: Store, name: str) -> None:
    sealed = store.get(name)
    if hashlib.sha256(sealed).hexdigest() != name.rpartition("/")[2]:
        raise DamagedData("its bytes do not match its name", hint="")
    repository.key.open(sealed)


def _check_pack(
    repository: Repository, store: Store, name: str, blobs: list[PackedBlob], bad: set[bytes]
) -> None:
    try:
        pack = store.get(name)
    except DrkitError:
        bad.update(blob.id for blob in blobs)
        raise
    if hashlib.sha256(pack).hexdigest() != name.rpartition("/")[2]:
        wrong = [blob.id for blob in blobs if not _is_sound(repository, pack, blob)]
        bad.update(wrong)
        raise DamagedData(
            f"its bytes do not match its name; blobs damaged: {len(wrong)} of {len(blobs)}", hint=""
        )
    if list(read_header(pack, repository.key)) != blobs:
        raise DamagedData("its header and the index differ", hint="")
    for blob in blobs:
        if not _is_sound(repository, pack, blob):
            bad.add(blob.id)
            raise DamagedData(f"blob {blob.id.hex()[:8]} has other content", hint="")


def _is_sound(repository: Repository, pack: bytes, blob: PackedBlob) -> bool:
    try:
        sealed = memoryview(pack)[blob.offset : blob.offset + blob.length]
        content = repository.key.open(sealed)
        if blob.raw_bytes:
            content = decompress(content, max_raw_bytes=blob.raw_bytes)
    except DamagedData:
        return False
    return hashlib.sha256(content).digest() == blob.id


def _lost(repository: Repository, gone: set[bytes]) -> list[str]:
    """Paths that snapshots reach and no store can give: their blobs are `gone` or in no index."""
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
            elif any(blob in gone or blob not in repository.index for blob in node.content):
                lost.append(f"{below}: a part of it is in no store")

    for listed in repository.snapshots():
        visit(listed.snapshot.tree, "")
    return lost
