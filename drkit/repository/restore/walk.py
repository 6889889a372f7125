"""The way of a restore through a tree: makes folders and special files, and says which files are to
be filled. A folder is read when it is entered, so that memory does not grow with the tree.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from drkit.errors import DamagedData
from drkit.repository.format.tree import MOST_LEVELS, Node, too_deep
from drkit.repository.repository import Repository
from drkit.repository.restore.files import OnFailure, TargetFile, make_special, refused
from drkit.repository.restore.place import Overwrite, Place, keeps


class Matcher(Protocol):
    """Patterns; asked from the top down, so that what lies below a match is never asked for."""

    def match(self, path: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of a tree is restored. `at`: its path in the snapshot, which patterns speak of. Nothing
    included means everything.
    """

    at: str = "/"
    include: Sequence[Matcher] = ()
    exclude: Sequence[Matcher] = ()

    @property
    def everything(self) -> bool:
        return not self.include and not self.exclude


EVERYTHING = Wanted()


@dataclass(frozen=True, slots=True)
class Left:
    """A folder below which all was said; its metadata is set when its files are whole."""

    path: str
    node: Node


@dataclass(frozen=True, slots=True)
class Linked:
    """A further name of a file that was said before."""

    original: str
    path: str
    node: Node


Step = TargetFile | Left | Linked


@dataclass(slots=True)
class _Folder:
    path: str
    shown: str
    node: Node
    nodes: Iterator[Node]
    inside: bool
    made: bool


@dataclass(slots=True)
class Walk:
    """What is counted on the way. `dry`: nothing is made, and nothing that is there is read."""

    repository: Repository
    place: Place
    overwrite: Overwrite
    wanted: Wanted
    on_failure: OnFailure
    on_not_made: OnFailure
    on_lost: OnFailure
    dry: bool = False
    folders: int = 0
    kept: int = 0
    _linked: dict[tuple[int, int], str] = field(default_factory=dict)

    def steps(self, node: Node, into: str) -> Iterator[Step]:
        """What lies below the folder `node`, which is restored as `into`; folders are left after
        all that they hold.
        """
        shown = self.wanted.at.rstrip("/")
        inside = not self.wanted.include
        excluded, fresh = self.wanted.exclude, self.place is Place.EMPTY
        stack = [_Folder(into, shown, node, self._nodes(node, into), inside, made=True)]
        while stack:
            folder = stack[-1]
            below = next(folder.nodes, None)
            if below is None:
                stack.pop()
                if stack and folder.made:
                    yield Left(folder.path, folder.node)
                continue
            name = os.fsdecode(below.name)
            path, shown = f"{folder.path}/{name}", f"{folder.shown}/{name}"
            if excluded and any(patterns.match(shown) for patterns in excluded):
                continue
            inside = folder.inside or any(patterns.match(shown) for patterns in self.wanted.include)
            if below.type == "dir":
                made = inside and (folder.made or self._make(stack)) and self._make_folder(path)
                if len(stack) >= MOST_LEVELS:
                    self.on_lost(path, too_deep(path).message)
                elif made or not inside:
                    nodes = self._nodes(below, path)
                    stack.append(_Folder(path, shown, below, nodes, inside, made))
            elif inside and (folder.made or self._make(stack)):
                if fresh and below.type == "file" and below.links <= 1:
                    yield TargetFile(path, below)  # as `_entry`, for most of them
                else:
                    yield from self._entry(path, below)

    def _nodes(self, node: Node, path: str) -> Iterator[Node]:
        if node.subtree is None:
            return iter(())
        try:
            return iter(self.repository.load_tree(node.subtree))
        except DamagedData as error:
            self.on_lost(path, f"the folder: {error.message}")
            return iter(())

    def _make(self, stack: list[_Folder]) -> bool:
        """Makes the folders on the way down that were not needed until now."""
        for folder in stack:
            if not folder.made:
                folder.made = self._make_folder(folder.path)
            if not folder.made:
                return False
        return True

    def _make_folder(self, path: str) -> bool:
        self.folders += 1
        if self.dry:
            return True
        try:
            try:
                os.mkdir(path, 0o700)
            except FileExistsError:
                found = os.lstat(path)
                if stat.S_ISDIR(found.st_mode):
                    os.chmod(path, stat.S_IMODE(found.st_mode) | 0o700)
                    return True
                if self.overwrite is Overwrite.NEVER:
                    self.kept += 1
                    return False
                os.unlink(path)
                os.mkdir(path, 0o700)
        except OSError as error:
            self._failed(path, error)
            return False
        return True

    def _entry(self, path: str, node: Node) -> Iterator[Step]:
        found = None
        if self.place is not Place.EMPTY:
            with suppress(OSError):
                found = os.lstat(path)
        if found is not None and self._stays(path, node, found):
            return
        if node.type != "file":
            if not self.dry:
                self._special(path, node, found)
            return
        identity = (node.device_id, node.inode)
        if node.links > 1 and (original := self._linked.setdefault(identity, path)) != path:
            yield Linked(original, path, node)
            return
        file = TargetFile(path, node, may_exist=found is not None)
        if self.place is Place.IN_USE:  # no marker there tells what a killed restore left
            file.replaces = True
        elif found is not None and not self.dry:
            self._reuse(file, found)
        yield file

    def _stays(self, path: str, node: Node, found: os.stat_result) -> bool:
        if self.place is not Place.IN_USE:
            return False
        if stat.S_ISDIR(found.st_mode):
            self.on_not_made(path, f"a folder is in the way of a {node.type}; it was left alone")
            return True
        if keeps(found, node, self.overwrite):
            self.kept += 1
            return True
        return False

    def _special(self, path: str, node: Node, found: os.stat_result | None) -> None:
        if found is not None and node.type != "socket":
            try:
                os.unlink(path)
            except OSError as error:
                self._failed(path, error)
                return
        make_special(path, node, self.on_failure, self.on_not_made)

    def _reuse(self, file: TargetFile, found: os.stat_result) -> None:
        """Finds what an unfinished restore has written already: proved by its hash."""
        if not stat.S_ISREG(found.st_mode):
            with suppress(OSError):
                os.unlink(file.path)
            return
        with suppress(OSError):
            os.chmod(file.path, 0o600)
            file.has, file.has_bytes = _right_blobs(self.repository, file)

    def _failed(self, path: str, error: OSError) -> None:
        if fatal := refused(path, error):
            raise fatal
        self.on_not_made(path, str(error.strerror))


def _right_blobs(repository: Repository, file: TargetFile) -> tuple[frozenset[int], int]:
    """The blobs of the file, by number, whose bytes lie where they belong; and those bytes."""
    right = set()
    right_bytes = 0
    with open(file.path, "rb", buffering=0, opener=_no_link) as opened:
        at = 0
        for number, blob_id in enumerate(file.node.content):
            place = repository.index.find(blob_id)
            if place is None:
                break
            content = os.pread(opened.fileno(), place.content_bytes, at)
            if hashlib.sha256(content).digest() == blob_id:
                right.add(number)
                right_bytes += len(content)
            at += place.content_bytes
    return frozenset(right), right_bytes


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)
