"""Reads files into blobs: small ones many at a time, large ones in windows that are cut in chunks.
Holes of sparse files are neither read nor hashed, and give the chunks that their zeros would.

A file is read as long as it was when it was opened. One that changes meanwhile is read once more,
and is told if it does not rest: what was read is kept, with the times of before, so that the next
backup reads it again.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from drkit.repository.backup.blob_writer import BlobWriter
from drkit.repository.format.chunker import WINDOW_BYTES, Chunker
from drkit.repository.format.metadata import Entry, entry_of
from drkit.repository.format.pack import BlobKind

_CHANGED = "it changed while it was read; what was read is kept"
_UNSIZED_BYTES = 1 << 40
_BLOCK_BYTES = 512  # what st_blocks counts, whatever the file system's own blocks are
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class SeenFile:
    """A regular file as a scan saw it. `is_known`: the former tree has it, with other content."""

    path: bytes
    name: bytes
    status: os.stat_result
    is_known: bool

    @property
    def size_bytes(self) -> int:
        return self.status.st_size


@dataclass(slots=True)
class ReadFiles:
    """Entries by name, and the paths of what could not be read or did not rest, with the reason.
    `as_seen`: each file still had the metadata that the scan saw.
    """

    entries: list[tuple[bytes, Entry]] = field(default_factory=list)
    unreadable: list[tuple[bytes, str]] = field(default_factory=list)
    changing: list[tuple[bytes, str]] = field(default_factory=list)
    new: int = 0
    changed: int = 0
    bytes: int = 0
    as_seen: bool = True


class FileReader:
    def __init__(
        self, writer: BlobWriter, chunker: Callable[[], Chunker], savers: ThreadPoolExecutor
    ) -> None:
        """`savers` take the chunks of large files, and never wait for others. `chunker` is called
        when there is something to read: where nothing changed, its settings are not asked for.
        """
        self._writer = writer
        self._make_chunker = chunker
        self._savers = savers

        self._zeros: tuple[bytes, int] | None = None

    @property
    def _chunker(self) -> Chunker:
        return self._make_chunker()

    def read(self, groups: Sequence[Sequence[SeenFile]]) -> list[ReadFiles]:
        """All files of each group, read and stored. None of them stops the others."""
        small: list[tuple[Entry, bytes]] = []
        found = [self._read_group(files, small) for files in groups]
        ids = self._writer.save_all([content for _, content in small])
        for (entry, _), blob_id in zip(small, ids, strict=True):
            entry["content"].append(blob_id.hex())
        return found

    def _read_group(self, files: Sequence[SeenFile], small: list[tuple[Entry, bytes]]) -> ReadFiles:
        """Files, read; what is in `small` when it returns is not yet stored."""
        found = ReadFiles()
        for file in files:
            try:
                handle = os.open(file.path, _FLAGS)
            except OSError as error:
                found.unreadable.append((file.path, error.strerror or str(error)))
                continue
            try:
                if file.size_bytes < self._chunker.min_bytes:
                    read = self._read_small(handle, file, found)
                else:
                    read = None
                if read is None:
                    entry = self._read_large(handle, file, found)
                else:
                    entry, content = read
                    if content:
                        small.append((entry, content))
            except (OSError, ValueError) as error:
                found.unreadable.append((file.path, getattr(error, "strerror", "") or str(error)))
                continue
            finally:
                os.close(handle)
            found.entries.append((file.name, entry))
            found.bytes += entry.get("size", 0)
            found.new += not file.is_known
            found.changed += file.is_known
        return found

    def _read_small(
        self, handle: int, file: SeenFile, found: ReadFiles
    ) -> tuple[Entry, bytes] | None:
        """Entry and content of a file of one chunk; None when it has grown into more."""
        limit = self._chunker.min_bytes
        for last_try in (False, True):
            before = _regular(handle)
            content = os.pread(handle, min(before.st_size, limit) + 1, 0)
            while content and not before.st_size and len(content) < limit:  # a size that is a lie
                more = os.pread(handle, limit - len(content), len(content))
                if not more:
                    break
                content += more
            if len(content) >= limit:
                return None
            if _is_same(before, os.fstat(handle)) and len(content) in (
                before.st_size,
                len(content) if not before.st_size else -1,
            ):
                break
            if last_try:
                found.changing.append((file.path, _CHANGED))
                content = content[: before.st_size]
        found.as_seen = found.as_seen and _facts(before) == _facts(file.status)
        return entry_of(handle, file.name, before, content=[], size=len(content)), content

    def _read_large(self, handle: int, file: SeenFile, found: ReadFiles) -> Entry:
        before = _regular(handle)
        sparse = before.st_blocks * _BLOCK_BYTES < before.st_size - self._chunker.max_bytes
        blobs, size = self._read_windows(handle, before.st_size or _UNSIZED_BYTES, sparse)
        if not _is_same(before, os.fstat(handle)) or (before.st_size and size != before.st_size):
            found.changing.append((file.path, _CHANGED))
        content = [blob.hex() for blob in blobs]
        found.as_seen = found.as_seen and _facts(before) == _facts(file.status)
        return entry_of(handle, file.name, before, content=content, size=size)

    def _read_windows(self, handle: int, limit: int, sparse: bool) -> tuple[list[bytes], int]:
        """The blobs of at most `limit` bytes, and how many those were.

        Reads into one buffer while the chunks of the other one are hashed and sealed.
        """
        blobs: list[bytes] = []
        window = min(WINDOW_BYTES, limit + 1)
        buffers = [bytearray(window)]
        earlier: list[Future[bytes]] = []
        turn, filled, total, at_end = 0, 0, 0, False
        while not at_end:
            if sparse and (skipped := self._skip_hole(handle, total - filled, limit)):
                blobs += [future.result() for future in earlier]
                earlier = []
                blobs += skipped
                total, filled = total - filled + len(skipped) * self._zero_chunk()[1], 0
            view = memoryview(buffers[turn])
            while filled < len(view) and not at_end:
                room = view[filled : filled + limit - total]
                read = os.preadv(handle, [room], total) if room else 0
                filled, total, at_end = filled + read, total + read, read == 0
            chunks = list(self._chunker.cut(view[:filled], is_last=at_end))
            saving = [self._savers.submit(self._writer.save, BlobKind.DATA, c) for c in chunks]
            used = sum(map(len, chunks))
            blobs += [future.result() for future in earlier]  # the other buffer is free from here
            earlier = saving
            if not at_end:
                if len(buffers) == 1:
                    buffers.append(bytearray(window))
                turn = 1 - turn
                buffers[turn][: filled - used] = view[used:filled]
                filled -= used
        blobs += [future.result() for future in earlier]
        return blobs, total

    def _skip_hole(self, handle: int, at: int, limit: int) -> list[bytes]:
        """The blobs of whole chunks of zeros from `at`, where a chunk begins, as far as a hole goes
        that is there; at most up to `limit`.

        What a chunk is depends on no byte before it, and on `max_bytes` from its start at most: so
        they are those that reading would give.
        """
        try:
            end = min(os.lseek(handle, at, os.SEEK_DATA), limit)
        except OSError as error:
            end = limit if error.errno == errno.ENXIO else at  # a hole to the end; or none known
        if end - at < self._chunker.max_bytes:
            return []
        blob, size = self._zero_chunk()
        return [blob] * ((end - at - self._chunker.max_bytes) // size + 1)

    def _zero_chunk(self) -> tuple[bytes, int]:
        """The blob that zeros are cut into, and its size in bytes."""
        if self._zeros is None:
            zeros = memoryview(bytes(2 * self._chunker.max_bytes))
            first = next(iter(self._chunker.cut(zeros, is_last=False)))
            self._zeros = self._writer.save(BlobKind.DATA, first), len(first)
        return self._zeros


def _regular(handle: int) -> os.stat_result:
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it changed its kind while it was read")
    return status


def _is_same(before: os.stat_result, after: os.stat_result) -> bool:
    return before.st_mtime_ns == after.st_mtime_ns and before.st_size == after.st_size


def _facts(status: os.stat_result) -> tuple[int, ...]:
    """All that an entry says of a file, beside its name and content."""
    return (
        status.st_mode,
        status.st_ino,
        status.st_uid,
        status.st_gid,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_nlink,
        status.st_dev,
    )
