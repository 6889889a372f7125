"""Finds a mirrored model in the stores, and proves a copy of it byte by byte."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from drkit.errors import RepositoryError
from drkit.events import Emit, Progress
from drkit.mirror.files import weight_files
from drkit.mirror.holding import look_at
from drkit.mirror.manifest import FileEntry, Manifest
from drkit.sources.interface import SourceUnreadable
from drkit.stores.interface import Store

READ_BYTES = 8 * 1024 * 1024
THREADS = 4

ReadRange = Callable[[int, int], bytes]
"""(offset, length) -> exactly so many bytes; OSError or `DrkitError` where there are fewer."""


class NoMirror(RepositoryError):
    """No store that answers holds the model whole."""


@dataclass(frozen=True, slots=True)
class FileDifference:
    """`what` is wrong with the file at `path`, in words."""

    path: str
    what: str


def find_manifest(
    stores: Sequence[Store], model: str, revision: str, *, digest: str | None = None
) -> tuple[Manifest, tuple[Store, ...]]:
    """The manifest, and the stores that hold it and list every file with its size, in order.

    With `digest` (a recovery point's) it is that manifest and no other; else the one that most
    stores hold. Raises `NoMirror`, saying for each store what it lacks.
    """
    holdings = [look_at(store, model, revision) for store in stores]
    found = {holding.manifest.digest: holding.manifest for holding in holdings if holding.manifest}
    votes = Counter(
        holding.manifest.digest
        for holding in holdings
        if holding.manifest and not holding.lacks(holding.manifest)
    )
    chosen = digest or (votes.most_common(1)[0][0] if votes else None)
    whole = []
    reasons = []
    for holding in holdings:
        name = holding.store.name
        if holding.unusable is not None:
            reasons.append(holding.unusable)
        elif holding.manifest is None:
            reasons.append(f"{name} has no manifest of it")
        elif missing := holding.lacks(holding.manifest):
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            reasons.append(f"{name} lacks {missing[0]}{more}")
        elif holding.manifest.digest != chosen:
            reasons.append(f"{name} holds another manifest")
        else:
            whole.append(holding.store)
    if chosen is None or not whole:
        raise NoMirror(
            f"no store holds {model} at {revision} whole: {'; '.join(reasons) or 'no stores'}",
            hint="mirror it again: drkit backup",
        )
    return found[chosen], tuple(whole)


def best_manifest(stores: Sequence[Store], model: str, revision: str) -> Manifest:
    """As `find_manifest`, but where no store holds every file: the manifest that most of them have,
    so that each can be mended from what the others still hold.
    """
    try:
        return find_manifest(stores, model, revision)[0]
    except NoMirror:
        held = [found for s in stores if (found := look_at(s, model, revision).manifest)]
        if not held:
            raise
        votes = Counter(manifest.digest for manifest in held)
        return max(held, key=lambda manifest: votes[manifest.digest])


def verify_directory(manifest: Manifest, root: Path, emit: Emit) -> list[FileDifference]:
    """Every way in which the files below `root` are not those of `manifest`: missing, extra,
    of another size, or of other bytes, naming the tensors that are hit. Empty: they are equal.
    """
    try:
        present = {file.path: file.location for file in weight_files(root)}
    except SourceUnreadable as error:
        return [FileDifference(".", error.message)]

    def check(entry: FileEntry) -> FileDifference | None:
        if entry.path not in present:
            return FileDifference(entry.path, "is missing")
        return _check_file(entry, present[entry.path])

    differences = list(_each(manifest, check, emit))
    known = {entry.path for entry in manifest.files}
    differences += [
        FileDifference(path, "is not in the manifest") for path in present if path not in known
    ]
    return sorted(differences, key=lambda difference: difference.path)


def compare(entry: FileEntry, size_bytes: int, read: ReadRange) -> FileDifference | None:
    """How the file that `read` reads differs from `entry`; None if every byte is right."""
    if size_bytes != entry.size_bytes:
        return FileDifference(entry.path, f"has {size_bytes} bytes, not {entry.size_bytes}")
    if _digest(read, 0, entry.size_bytes) == entry.sha256:
        return None
    hit = [t.name for t in entry.tensors if _digest(read, t.begin, t.end) != t.sha256]
    if not hit:
        where = " outside its tensors" if entry.tensors else ""
        return FileDifference(entry.path, f"has other bytes{where} (sha256)")
    more = f" and {len(hit) - 3} more" if len(hit) > 3 else ""
    return FileDifference(entry.path, f"has other bytes (sha256) in {', '.join(hit[:3])}{more}")


def _check_file(entry: FileEntry, location: Path) -> FileDifference | None:
    try:
        with location.open("rb", buffering=0) as file:

            def read(offset: int, length: int) -> bytes:
                file.seek(offset)
                data = file.read(length)
                if not data:
                    raise OSError("the file became shorter while it was read")
                return data

            return compare(entry, location.stat().st_size, read)
    except OSError as error:
        return FileDifference(entry.path, f"cannot be read: {error.strerror or error}")


def _digest(read: ReadRange, begin: int, end: int) -> str:
    hasher = hashlib.sha256()
    at = begin
    while at < end:
        data = read(at, min(READ_BYTES, end - at))
        hasher.update(data)
        at += len(data)
    return hasher.hexdigest()


def _each(
    manifest: Manifest, check: Callable[[FileEntry], FileDifference | None], emit: Emit
) -> Iterator[FileDifference]:
    """Checks files in parallel; yields what is wrong, in the order of the manifest."""
    done_bytes = 0
    with ThreadPoolExecutor(THREADS, thread_name_prefix="verify") as pool:
        for entry, difference in zip(manifest.files, pool.map(check, manifest.files), strict=True):
            done_bytes += entry.size_bytes
            emit(Progress("verify", done_bytes, manifest.total_bytes, "bytes", entry.path))
            if difference is not None:
                yield difference
