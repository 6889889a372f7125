"""Mirrors a model into stores: each file is read once and sent to every store that lacks it.

A revision never changes: a file that a store's manifest lists with another content, or that is no
more on this disk, is refused, because the likeliest reason is that the copy on this disk is the
damaged one. In each store the manifest is written last, so a mirror without one is not whole. What
was sent before a crash is known by `cache` and is not sent again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from drkit.errors import ConfigError, DamagedData, GuardRefused
from drkit.events import Emit, Note, Progress, StoreLagging
from drkit.mirror.files import Stamp, WeightFile, weight_files
from drkit.mirror.holding import Holding, look_at
from drkit.mirror.known import KnownFiles
from drkit.mirror.manifest import MANIFEST, FileEntry, Manifest, mirror_folder
from drkit.mirror.tee import CHUNK_BYTES, PATIENCE_S, StoreWriter, offer_all
from drkit.mirror.tensors import Digests, FileHasher
from drkit.sources.interface import SourceUnreadable
from drkit.stores.interface import Store
from drkit.stores.names import is_safe_name


@dataclass(frozen=True, slots=True)
class MirrorStoreResult:
    """`complete`: the store holds every file and the manifest; else `reason` says why not."""

    store: str
    complete: bool
    reason: str
    bytes_sent: int


@dataclass(frozen=True, slots=True)
class MirrorReport:
    manifest: Manifest
    stores: tuple[MirrorStoreResult, ...]
    bytes_read: int


def mirror_weights(
    path: Path,
    *,
    model: str,
    revision: str,
    stores: Sequence[Store],
    cache: Path,
    emit: Emit,
    patience_s: float = PATIENCE_S,
) -> MirrorReport:
    """What was mirrored, and how each store did; a store that fails does not stop the others.

    Raises `SourceUnreadable`, `GuardRefused` (other content, or less, of the same revision) and
    `DamagedData` (a file whose bytes changed while its time did not). `cache` is a JSON file.
    """
    if not is_safe_name(f"{model}/{revision}"):
        raise ConfigError(
            f"weights of {model!r} at {revision!r} cannot be named in a store",
            hint="give the source a model and revision of printable ASCII, without '..'",
        )
    files = weight_files(path)
    holdings = [look_at(store, model, revision) for store in stores]
    _refuse_fewer_files(files, holdings)
    known = KnownFiles(cache, model=model, revision=revision)
    writers = {
        holding.store.name: StoreWriter(holding.store, patience_s=patience_s)
        for holding in holdings
        if holding.unusable is None
    }
    job = _Mirroring(mirror_folder(model, revision), holdings, writers, known, emit)
    job.total_bytes = sum(file.stamp.size_bytes for file in files)
    try:
        manifest = Manifest(model, revision, tuple(job.mirror(file) for file in files))
        job.send_manifest(manifest)
        for writer in writers.values():
            writer.finish()
    except BaseException:
        for writer in writers.values():
            writer.give_up("the mirror was ended")
        raise
    finally:
        job.save()
    return MirrorReport(manifest, job.results(), job.bytes_read)


class _Mirroring:
    """One run of `mirror_weights`: what it knows, and what it has done so far."""

    def __init__(
        self,
        folder: str,
        holdings: Sequence[Holding],
        writers: dict[str, StoreWriter],
        known: KnownFiles,
        emit: Emit,
    ) -> None:
        self._folder = folder
        self._holdings = holdings
        self._writers = writers
        self._known = known
        self._emit = emit
        self._sha256: dict[str, str] = {}
        self._done_bytes = 0
        self.total_bytes = 0
        self.bytes_read = 0

    def mirror(self, file: WeightFile) -> FileEntry:
        """Brings one file to every store that lacks it, reading it only where that is needed."""
        entry = self._known.entry(file)
        lacking = [holding for holding in self._usable() if not self._holds(holding, file, entry)]
        if entry is None and any(file.path in holding.claimed for holding in lacking):
            # What replaces a lost object must be proved to be that object before it is sent.
            entry = self._read(file, [])
        if entry is not None:
            self._refuse_other_content(entry)
        if entry is None or lacking:
            former = entry
            entry = self._read(file, [self._writers[holding.store.name] for holding in lacking])
            if former is not None and former.sha256 != entry.sha256:
                raise _silent_change(file)
            self._refuse_other_content(entry)
            self._known.remember(file, entry)
            self._sha256[file.path] = entry.sha256
            self.save()
        self._done_bytes += file.stamp.size_bytes
        self._show(file, 0)
        return entry

    def send_manifest(self, manifest: Manifest) -> None:
        data = manifest.to_bytes()
        for holding in self._usable():
            if holding.manifest != manifest:
                writer = self._writers[holding.store.name]
                writer.begin(MANIFEST, self._folder + MANIFEST, len(data))
                writer.offer(data)
                writer.end()

    def save(self) -> None:
        """Writes down what is known; failing to costs only a second reading."""
        for name, writer in self._writers.items():
            for path in tuple(writer.stored):
                if path in self._sha256:
                    self._known.remember_sent(name, path, self._sha256[path])
        try:
            self._known.save()
        except OSError as error:
            self._emit(Note("warning", "weights", f"cannot remember what was read: {error}"))

    def results(self) -> tuple[MirrorStoreResult, ...]:
        found = []
        for holding in self._holdings:
            writer = self._writers.get(holding.store.name)
            reason = holding.unusable if writer is None else writer.failure
            if reason:
                self._emit(StoreLagging(holding.store.name, reason))
            found.append(
                MirrorStoreResult(
                    holding.store.name,
                    complete=not reason,
                    reason=reason or "",
                    bytes_sent=writer.bytes_sent if writer else 0,
                )
            )
        return tuple(found)

    def _usable(self) -> list[Holding]:
        return [
            holding
            for holding in self._holdings
            if (writer := self._writers.get(holding.store.name)) and writer.failure is None
        ]

    def _holds(self, holding: Holding, file: WeightFile, entry: FileEntry | None) -> bool:
        """Whether the store has the file: listed with its size, and known by content or claim."""
        if holding.sizes.get(file.path) != file.stamp.size_bytes:
            return False
        if file.path in holding.claimed:
            return True
        sent = self._known.sent(holding.store.name, file.path)
        return entry is not None and sent == entry.sha256

    def _refuse_other_content(self, entry: FileEntry) -> None:
        for holding in self._holdings:
            claimed = holding.claimed.get(entry.path)
            if claimed is not None and claimed.sha256 != entry.sha256:
                raise GuardRefused(
                    f"{entry.path} is not what {holding.store.name} holds of this revision: "
                    f"sha256 {entry.sha256[:12]}… here, {claimed.sha256[:12]}… there",
                    hint="a revision never changes: is the file on this disk damaged? "
                    "If the model did change, give the source another revision",
                )

    def _read(self, file: WeightFile, writers: Sequence[StoreWriter]) -> FileEntry:
        """Reads the file once, hashing it and sending it to `writers`."""
        size_bytes = file.stamp.size_bytes
        hasher = FileHasher(file.path, size_bytes)
        for writer in writers:
            writer.begin(file.path, self._folder + file.path, size_bytes)
        whole = False
        try:
            with file.location.open("rb", buffering=0) as opened:
                read_bytes = 0
                while chunk := opened.read(CHUNK_BYTES):
                    read_bytes += len(chunk)
                    hasher.update(chunk)
                    offer_all(writers, chunk)
                    self._show(file, read_bytes)
                status = file.location.stat()
                whole = Stamp.of(status) == file.stamp and read_bytes == size_bytes
        except OSError as error:
            raise SourceUnreadable(
                f"{file.location}: {error.strerror or error}",
                hint="see that the model directory is there, is whole, and may be read",
            ) from error
        finally:
            for writer in writers:
                writer.end(aborted=not whole)
        if not whole:
            raise SourceUnreadable(
                f"{file.location} changed while it was read", hint="run the backup again"
            )
        self.bytes_read += size_bytes
        return self._entry(file, hasher.finish())

    def _entry(self, file: WeightFile, digests: Digests) -> FileEntry:
        if digests.problem is not None:
            text = f"no loader will take this safetensors file: {digests.problem}"
            self._emit(Note("warning", file.path, text))
        return FileEntry(file.path, file.stamp.size_bytes, digests.sha256, digests.tensors)

    def _show(self, file: WeightFile, read_bytes: int) -> None:
        done = self._done_bytes + read_bytes
        self._emit(Progress("weights", done, self.total_bytes, "bytes", file.path))


def _refuse_fewer_files(files: Sequence[WeightFile], holdings: Sequence[Holding]) -> None:
    """A manifest without a shard would make a whole mirror one that nothing can serve from."""
    here = {file.path for file in files}
    for holding in holdings:
        if missing := sorted(holding.claimed.keys() - here):
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise GuardRefused(
                f"{missing[0]}{more} of this revision, which {holding.store.name} holds, "
                "is not on this disk any more",
                hint="a revision never changes: bring it back (drkit restore --source NAME). "
                "If the model did change, give the source another revision",
            )


def _silent_change(file: WeightFile) -> DamagedData:
    return DamagedData(
        f"{file.location}: its bytes changed since they were last read, and its time did not",
        hint="the disk may be failing; fetch the file from a store that holds the mirror",
    )
