"""Brings a tree back, whole: content, owners, modes, times, links, attributes.

Ranges of packs come from all stores in parallel; files are filled in the order in which bytes come,
a window of files at a time, so that memory depends neither on the tree nor on its files.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from drkit.errors import DamagedData
from drkit.events import Emit, Note, Progress
from drkit.io_policy import READS, ReadPolicy
from drkit.repository.copies.fetch import Data, Failed, Fetcher, Got
from drkit.repository.format.tree import Node
from drkit.repository.repository import Repository
from drkit.repository.restore.crew import Crew, cores
from drkit.repository.restore.files import (
    TargetFile,
    drop_file,
    finish_file,
    make_file,
    metadata_of,
    refused,
    set_metadata,
)
from drkit.repository.restore.place import (
    Overwrite,
    Place,
    claim_place,
    look_at_place,
    release_place,
)
from drkit.repository.restore.plan import Batch, Piece, Range, plan_ranges, single
from drkit.repository.restore.walk import EVERYTHING, Left, Linked, Step, Walk, Wanted
from drkit.repository.restore.writing import Written, write_content, write_range
from drkit.repository.trees.walk import entries

_WINDOW_FILES = 1024
_WINDOW_BLOBS = 8192
_WINDOWS_OPEN = 6
_NAMED = 1000
_WORTH_WORKERS_BLOBS = 500
_LARGE_BLOB_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """`in_place` lets a place in use be written to, as `overwrite` says. `total_bytes` is what
    progress is measured against, where it is known. `workers`: how many processes write; None: as
    many as there are cores, if it is worth it.
    """

    wanted: Wanted = EVERYTHING
    overwrite: Overwrite = Overwrite.ALWAYS
    in_place: bool = False
    sparse: bool = True
    dry_run: bool = False
    total_bytes: int | None = None
    workers: int | None = None
    policy: ReadPolicy = READS


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What came back. `skipped`: what this machine or user could not set or make, by path and why;
    `not_made`: how much of it is not there. `kept`: files that were there and stayed;
    `bytes_reused`: what an unfinished restore had written.
    """

    files: int
    folders: int
    bytes: int
    skipped: tuple[tuple[str, str], ...]
    kept: int = 0
    bytes_reused: int = 0
    not_made: int = 0


@dataclass(frozen=True, slots=True)
class WalkedNode:
    path: Path
    node: Node


def walk(repository: Repository, tree_id: str, root: Path) -> Iterator[WalkedNode]:
    """Every node below `tree_id`, folders before what they hold."""
    for entry in entries(repository, tree_id):
        yield WalkedNode(root / entry.path[1:], entry.node)


def restore_tree(
    repository: Repository,
    node: Node,
    into: Path,
    emit: Emit,
    options: RestoreOptions = RestoreOptions(),
) -> RestoreReport:
    """Restores the folder `node` as `into`. `GuardRefused` for a place that may not be written to
    (R7); one that an earlier restore of the same tree left unfinished is finished.

    A file with a blob that is lost in every store is left out, and the others are restored; then
    `DamagedData` names it, and the place stays unfinished.
    """
    if node.subtree is None:
        raise DamagedData(f"{into.name} is no folder in the point", hint="drkit points")
    place = look_at_place(into, node.subtree, in_place=options.in_place)
    if not options.dry_run:
        claim_place(into, node.subtree, place)
    run = _Run(repository, emit, options, place)
    run.restore(node, str(into))
    if run.lost:
        path, why = run.lost[0]
        more = f", and {len(run.lost) - 1} more" if len(run.lost) > 1 else ""
        raise DamagedData(
            f"{path}: {why}{more}; everything else was restored",
            hint="bring back a store that has it, and run the restore again: it goes on. "
            "An older point may hold the file: drkit points",
        )
    if not options.dry_run:
        release_place(into, node.subtree)
        if node.name:  # the root of a snapshot has no metadata of its own
            set_metadata(str(into), metadata_of(node), str(into), run.failed)
    return run.report()


@dataclass(slots=True)
class _Window:
    """Files that are restored together. `ranges`: how many are still to come."""

    ranges: int = 0
    links: list[Linked] = field(default_factory=list)
    folders: list[Left] = field(default_factory=list)


class _Run:
    def __init__(
        self, repository: Repository, emit: Emit, options: RestoreOptions, place: Place
    ) -> None:
        self._repository = repository
        self._emit = emit
        self._options = options
        self._walk = Walk(
            repository,
            place,
            options.overwrite,
            options.wanted,
            self.failed,
            self._not_made,
            self._lose,
            options.dry_run,
        )
        self._windows: dict[int, _Window] = {}
        self._opened = 0
        self._files = 0
        self._bytes = 0
        self._bytes_reused = 0
        self._skipped: list[tuple[str, str]] = []
        self._unmade = 0
        self.lost: list[tuple[str, str]] = []

    def restore(self, node: Node, into: str) -> None:
        steps = self._walk.steps(node, into)
        if self._options.dry_run:
            for step in steps:
                self._count(step)
            return
        todo: deque[Range] = deque()
        more = self._open_window(steps, todo)
        stores = self._repository.reading_order
        with (
            self._hire(todo, len(stores)) as crew,
            Fetcher[Batch, Written](
                stores,
                lambda request, _store, data: self._use(crew, request, data),
                on_trouble=self._repository.note_trouble,
                policy=self._options.policy,
                rooms=crew.rooms,
            ) as fetcher,
        ):
            while more or todo or not fetcher.is_idle:
                while fetcher.has_room:
                    if todo:
                        fetcher.add(todo.popleft())
                    elif more and len(self._windows) < _WINDOWS_OPEN:
                        more = self._open_window(steps, todo)
                    else:
                        break
                self._close_windows()
                for outcome in fetcher.outcomes():
                    if isinstance(outcome, Got):
                        self._used(outcome, todo)
                    else:
                        self._nobody_gave(outcome)
            self._close_windows()

    def report(self) -> RestoreReport:
        for path, why in self._skipped:
            self._emit(Note("warning", path, why))
        return RestoreReport(
            self._files,
            self._walk.folders,
            self._bytes,
            tuple(self._skipped),
            self._walk.kept,
            self._bytes_reused,
            self._unmade,
        )

    def failed(self, path: str, why: str) -> None:
        """Keeps what could not be set or made; beyond a thousand, nobody reads it."""
        if len(self._skipped) < _NAMED:
            self._skipped.append((path, why))

    def _not_made(self, path: str, why: str) -> None:
        self._unmade += 1
        self.failed(path, why)

    def _lose(self, path: str, why: str) -> None:
        self._emit(Note("error", path, why))
        self.lost.append((path, why))

    def _lose_file(self, file: TargetFile, why: str) -> None:
        if not file.is_lost:
            file.is_lost = True
            drop_file(file)
            self._lose(file.path, why)

    def _count(self, step: Step) -> None:
        self._files += not isinstance(step, Left)
        self._bytes += step.node.size if isinstance(step, TargetFile) else 0

    def _hire(self, todo: deque[Range], stores: int) -> Crew:
        """Who writes beside this process: nobody where there is little, or one core for it, or
        where blobs are large, which are hashed and written without the interpreter's lock.
        """
        count = self._options.workers
        if count is None:
            blobs = sum(len(request.what.pieces) for request in todo)
            size_bytes = sum(request.length or 0 for request in todo)
            worth = blobs >= _WORTH_WORKERS_BLOBS and size_bytes / blobs < _LARGE_BLOB_BYTES
            count = cores() if worth and cores() > 1 else 0
        rooms = stores * self._options.policy.connections
        return Crew(self._repository.key, count=count, rooms=rooms, sparse=self._options.sparse)

    def _open_window(self, steps: Iterator[Step], todo: deque[Range]) -> bool:
        """Plans the next files; False when there are no more."""
        window = self._windows[self._opened] = _Window()
        files: list[TargetFile] = []
        blobs, more = 0, False
        for step in steps:
            self._files += not isinstance(step, Left)
            match step:
                case TargetFile():
                    files.append(step)
                    blobs += len(step.node.content)
                case Linked():
                    window.links.append(step)
                case Left():
                    window.folders.append(step)
            if blobs >= _WINDOW_BLOBS or len(files) + len(window.folders) >= _WINDOW_FILES:
                more = True
                break
        plan = plan_ranges(self._repository.index, files, self._opened, self._options.policy)
        for file, why in plan.lost.items():
            self._lose_file(file, why)
        for file in files:
            if file.is_lost or (file.left and file.is_new_and_of_one_blob):
                continue
            self._make(file)
            self._bytes += file.has_bytes
            self._bytes_reused += file.has_bytes
            if not file.left:
                self._finish(file)
        window.ranges = len(plan.ranges)
        todo.extend(plan.ranges)
        self._opened += 1
        return more

    def _close_windows(self) -> None:
        """Links and folders of windows whose files are whole, in the order of the tree."""
        while self._windows:
            number = next(iter(self._windows))
            if self._windows[number].ranges:
                return
            window = self._windows.pop(number)
            for link in window.links:
                self._link(link)
            for folder in window.folders:
                set_metadata(folder.path, metadata_of(folder.node), folder.path, self.failed)

    def _use(self, crew: Crew, request: Range, data: Data) -> Written:
        """Writes what is right of a range; runs in many threads."""
        pieces = [piece.sealed() for piece in request.what.pieces]
        written = crew.write(request.room, len(data), pieces)
        if written is None:
            key, sparse = self._repository.key, self._options.sparse
            written = write_range(key, data, pieces, sparse=sparse)
        if len(written.wrong) == len(pieces):
            raise DamagedData(_wrong(request.what.pieces[0], written.wrong[0][1]), hint="")
        return written

    def _make(self, file: TargetFile) -> None:
        try:
            make_file(file)
        except OSError as error:
            self._unwritable(file, error)

    def _finish(self, file: TargetFile) -> None:
        if file.is_lost:
            return
        try:
            finish_file(file, self.failed)
        except OSError as error:
            self._unwritable(file, error)

    def _unwritable(self, file: TargetFile, error: OSError) -> None:
        if fatal := refused(file.path, error):
            raise fatal
        if not file.is_lost:
            file.is_lost = True
            if not isinstance(error, FileExistsError):  # what is there then is somebody else's
                drop_file(file)
            self._files -= 1
            self._not_made(file.path, f"was not written: {error.strerror}")

    def _used(self, outcome: Got[Batch, Written], todo: deque[Range]) -> None:
        request, written = outcome.request, outcome.result
        pieces = request.what.pieces
        window = self._windows[request.what.window]
        window.ranges -= 1
        wrong = dict(written.wrong)
        self._told(pieces, written)
        for number, piece in enumerate(pieces):
            if number not in wrong:
                self._arrived(piece)
                continue
            why = _wrong(piece, wrong[number])
            todo.appendleft(single(piece, request, request.given_by, why))
            window.ranges += 1
            self._repository.note_trouble(request.given_by, request.name, why)
        path = pieces[-1].spots[-1][0].path
        self._emit(Progress("restore", self._bytes, self._options.total_bytes, "bytes", path))

    def _told(self, pieces: Sequence[Piece], written: Written) -> None:
        """What could not be done, and how much was."""
        self._bytes += written.bytes
        for path, why in written.unset:
            self.failed(path, why)
        for number, spot, code in written.unwritable:
            self._unwritable(pieces[number].spots[spot][0], OSError(code, os.strerror(code)))

    def _arrived(self, piece: Piece) -> None:
        for file, _ in piece.spots:
            file.left -= 1
            if not file.left and not file.is_new_and_of_one_blob:
                self._finish(file)

    def _nobody_gave(self, outcome: Failed[Batch]) -> None:
        """The last resort: other packs that hold the same blobs, from whichever store."""
        for piece in outcome.request.what.pieces:
            try:
                content = self._repository.load_blob(piece.blob_id)
            except DamagedData as error:
                for file, _ in piece.spots:
                    self._lose_file(file, error.message)
                continue
            written = Written(len(content) * len(piece.spots), [], [], [])
            spots = piece.sealed()[-1]
            write_content(content, 0, spots, written, sparse=self._options.sparse)
            self._told((piece,), written)
            self._arrived(piece)
        self._windows[outcome.request.what.window].ranges -= 1

    def _link(self, link: Linked) -> None:
        folder = os.path.dirname(link.path)
        try:
            before = os.stat(folder)
            with suppress(FileNotFoundError):
                found = os.lstat(link.path)
                if stat.S_ISDIR(found.st_mode) or os.path.samestat(found, os.lstat(link.original)):
                    return
                os.unlink(link.path)
            os.link(link.original, link.path, follow_symlinks=False)
            os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))
        except OSError as error:
            if fatal := refused(link.path, error):
                raise fatal from None
            self._files -= 1
            self._not_made(link.path, f"was not linked to {link.original}: {error.strerror}")


def _wrong(piece: Piece, why: str) -> str:
    return f"blob {piece.blob_id.hex()[:8]}: {why}"
