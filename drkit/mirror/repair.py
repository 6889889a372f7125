"""Mends a mirror: what is damaged in one store is fetched by range from another, and proved.

An object is never changed in part: it is sent again whole, its sound ranges out of its own store
and the damaged ones out of a sound one, so that only these cross between clouds. The last piece is
held back until the SHA-256 of all of it is the manifest's; a copy that is wrong replaces nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from drkit.errors import DamagedData, DrkitError
from drkit.events import Emit, Note, Progress
from drkit.mirror.holding import look_at
from drkit.mirror.manifest import MANIFEST, FileEntry, Manifest
from drkit.mirror.read import READ_BYTES, compare
from drkit.stores.interface import ObjectMissing, Store

Span = tuple[int, int]
"""Where bytes begin and end in a file."""


@dataclass(frozen=True, slots=True)
class WeightsRepair:
    """One damaged file of one store. `healed_from` names the store that gave `bytes_fetched`;
    empty: it is as it was, and `why` says what kept it so.
    """

    store: str
    path: str
    what: str
    healed_from: str = ""
    bytes_fetched: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class MirrorCheck:
    """One store's copy: of `files`, so many were read whole and hashed; the others are listed with
    their sizes. `answered`: everything that was asked of the store was told.
    """

    store: str
    files: int
    files_read: int
    bytes_read: int
    repairs: tuple[WeightsRepair, ...]
    answered: bool


def check_mirror(
    manifest: Manifest,
    store: Store,
    stores: Sequence[Store],
    emit: Emit,
    *,
    wanted: Callable[[FileEntry], bool] = lambda entry: True,
    dry_run: bool = False,
) -> MirrorCheck:
    """What `store` has, and what was mended there from others of `stores` (not with `dry_run`).

    The files that are `wanted` are read whole, and those that are not listed with their size; all
    of them where the manifest is gone or damaged: it is put back only beside sound files.
    """
    others = [other for other in stores if other is not store]
    held = look_at(store, manifest.model, manifest.revision)
    files = len(manifest.files)
    if held.unusable is not None:
        away = WeightsRepair(store.name, MANIFEST, "", why=held.unusable)
        return MirrorCheck(store.name, files, 0, 0, (away,), answered=False)
    if held.manifest not in (None, manifest):
        why = "the store holds another manifest of this revision; it was left alone"
        other = WeightsRepair(store.name, MANIFEST, "is another one", why=why)
        _tell(other, emit)
        return MirrorCheck(store.name, files, 0, 0, (other,), answered=True)
    lacking = frozenset(held.lacks(manifest))
    todo = [
        entry
        for entry in manifest.files
        if held.manifest is None or entry.path in lacking or wanted(entry)
    ]
    task, total_bytes = f"check {store.name}", sum(entry.size_bytes for entry in todo)
    found: list[WeightsRepair] = []
    files_read = bytes_read = done_bytes = 0
    answered = True
    for entry in todo:
        emit(Progress(task, done_bytes, total_bytes, "bytes", entry.path))
        done_bytes += entry.size_bytes
        try:
            wrong, read = _wrong(manifest, entry, store)
        except DrkitError as error:
            found.append(WeightsRepair(store.name, entry.path, "", why=error.message))
            answered = False
            continue
        files_read += 1
        bytes_read += read
        if wrong:
            repair = WeightsRepair(store.name, entry.path, wrong, why="nothing was changed")
            if not dry_run:
                repair = _mend(manifest, entry, store, others, wrong)
            _tell(repair, emit)
            found.append(repair)
    if held.manifest is None and not any(repair.why for repair in found):
        found.append(_mend_manifest(manifest, store, emit, dry_run=dry_run))
    return MirrorCheck(store.name, files, files_read, bytes_read, tuple(found), answered)


def check_listed(manifest: Manifest, store: Store, emit: Emit) -> MirrorCheck:
    """What `store` lists of the mirror: every file with its size, and its manifest. No file is read
    and nothing is mended.
    """
    held = look_at(store, manifest.model, manifest.revision)
    files = len(manifest.files)
    if held.unusable is not None:
        away = WeightsRepair(store.name, MANIFEST, "", why=held.unusable)
        return MirrorCheck(store.name, files, 0, 0, (away,), answered=False)
    wrong = {path: _as_listed(held.sizes.get(path)) for path in held.lacks(manifest)}
    if held.manifest != manifest:
        wrong[MANIFEST] = "is another one" if held.manifest else "is missing or damaged"
    found = tuple(
        WeightsRepair(store.name, path, what, why="nothing was changed")
        for path, what in wrong.items()
    )
    for repair in found:
        _tell(repair, emit)
    return MirrorCheck(store.name, files, 0, 0, found, answered=True)


def _as_listed(size_bytes: int | None) -> str:
    return "is missing" if size_bytes is None else f"has {size_bytes} bytes, which is not its size"


def damaged_spans(entry: FileEntry, store: Store, name: str) -> tuple[Span, ...]:
    """The spans of a file of the right length that hold wrong bytes: tensors; where none is hit,
    or there are none, everything between them.
    """
    hit = tuple(
        (tensor.begin, tensor.end)
        for tensor in entry.tensors
        if _digest(store, name, tensor.begin, tensor.end) != tensor.sha256
    )
    return hit or _between(entry)


def _wrong(manifest: Manifest, entry: FileEntry, store: Store) -> tuple[str, int]:
    """What is wrong with the file in `store`, in words; empty when it is sound. And how many bytes
    were read to know that.
    """
    name = manifest.folder + entry.path
    bytes_read = 0

    def read(offset: int, length: int) -> bytes:
        nonlocal bytes_read
        data = store.get(name, offset=offset, length=length)
        bytes_read += len(data)
        return data

    try:
        difference = compare(entry, store.stat(name).size_bytes, read)
    except ObjectMissing:
        return "is missing", bytes_read
    return difference.what if difference else "", bytes_read


def _mend(
    manifest: Manifest, entry: FileEntry, store: Store, donors: Sequence[Store], wrong: str
) -> WeightsRepair:
    name = manifest.folder + entry.path
    everything: tuple[Span, ...] = ((0, entry.size_bytes),)
    attempts = [everything]
    try:
        if store.stat(name).size_bytes == entry.size_bytes:
            spans = damaged_spans(entry, store, name)
            attempts = [spans, tuple(sorted({*spans, *_between(entry)})), everything]
    except DrkitError:
        pass  # it gives nothing of its own: all comes from another store
    reasons = []
    for donor in donors:
        for spans in dict.fromkeys(attempts):
            try:
                store.put(
                    name, _pieces(entry, name, store, donor, spans), size_bytes=entry.size_bytes
                )
            except DrkitError as error:
                reasons.append(f"{donor.name}: {error.message}")
                continue
            fetched = sum(end - begin for begin, end in spans)
            return WeightsRepair(store.name, entry.path, wrong, donor.name, fetched)
    why = "; ".join(dict.fromkeys(reasons)) or "no other store holds the model"
    return WeightsRepair(store.name, entry.path, wrong, why=why)


def _pieces(
    entry: FileEntry, name: str, own: Store, donor: Store, spans: Sequence[Span]
) -> Iterator[bytes]:
    """The file out of both stores. Raises `DamagedData` before its end when it is another one."""
    whole = hashlib.sha256()
    last = b""
    at = 0
    for begin, end in (*spans, (entry.size_bytes, entry.size_bytes)):
        for source, stop in ((own, begin), (donor, end)):
            while at < stop:
                piece = source.get(name, offset=at, length=min(READ_BYTES, stop - at))
                whole.update(piece)
                at += len(piece)
                if last:
                    yield last
                last = piece
    if whole.hexdigest() != entry.sha256:
        raise DamagedData(f"its copy of {entry.path} is damaged too", hint="drkit backup")
    yield last


def _between(entry: FileEntry) -> tuple[Span, ...]:
    """What no tensor covers: the header, or a whole file that has none."""
    at, found = 0, []
    for tensor in sorted(entry.tensors, key=lambda tensor: tensor.begin):
        if tensor.begin > at:
            found.append((at, tensor.begin))
        at = max(at, tensor.end)
    return (*found, (at, entry.size_bytes)) if at < entry.size_bytes else tuple(found)


def _digest(store: Store, name: str, begin: int, end: int) -> str:
    hasher = hashlib.sha256()
    for at in range(begin, end, READ_BYTES):
        hasher.update(store.get(name, offset=at, length=min(READ_BYTES, end - at)))
    return hasher.hexdigest()


def _mend_manifest(manifest: Manifest, store: Store, emit: Emit, *, dry_run: bool) -> WeightsRepair:
    """Puts the manifest back, last, where a store whose files are all sound has none that reads."""
    content = manifest.to_bytes()
    what = "is missing or damaged"
    repair = WeightsRepair(store.name, MANIFEST, what, why="nothing was changed")
    if not dry_run:
        try:
            store.put(manifest.folder + MANIFEST, content, size_bytes=len(content))
            repair = WeightsRepair(store.name, MANIFEST, what, "the manifest itself", len(content))
        except DrkitError as error:
            repair = WeightsRepair(store.name, MANIFEST, what, why=error.message)
    _tell(repair, emit)
    return repair


def _tell(repair: WeightsRepair, emit: Emit) -> None:
    if repair.healed_from:
        text = f"mended: {repair.bytes_fetched} bytes came from {repair.healed_from}"
        emit(Note("warning", repair.store, f"{repair.path} {repair.what}; {text}"))
    else:
        emit(Note("error", repair.store, f"{repair.path} {repair.what}: {repair.why}"))
