"""What a folder holds now, beside what it held at an earlier scan: names and metadata, no content.

It needs nothing of the stores but the former trees, so that a run may look ahead while it waits for
them; what was seen then is the same as if it had been seen by the scan.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import orjson

from drkit.errors import DamagedData
from drkit.repository.backup.excludes import Rules
from drkit.repository.backup.file_reader import SeenFile
from drkit.repository.backup.pieces import Pieces, entry_in, pieces_of
from drkit.repository.cache.resting import Resting, RestingTrees, facts_of
from drkit.repository.format.metadata import Entry, describes, is_unchanged
from drkit.repository.format.quoting import quote
from drkit.sources.interface import Excludes
from drkit.sources.patterns import BadPattern

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
LoadBlob = Callable[[bytes], bytes]
Seen = tuple[bytes, os.stat_result, Entry | None]
"""A name, what the system says of it, and its former entry."""


@dataclass(frozen=True, slots=True)
class Compare:
    """How a file is found to be as it was: by size, times and inode, as restic does."""

    ignore_inode: bool = False
    ignore_ctime: bool = False
    force: bool = False


BY_ALL = Compare()


@dataclass(eq=False, slots=True)
class Looked:
    """What one folder holds. `former`: its former tree could be read, and had `held` entries.

    `same` files are as they were, those with True down to the last bit of metadata; `unknown` ones
    are to be read. `rules` are those of the folder. `digest` is that of all that was seen, `marks`
    are those of each thing.

    `resting`: what is not told, because it is as in the former tree. With `pieces` of that tree, it
    is what these say, and all else is told; without, it is all of the folder but the `folders`.
    """

    rules: Rules
    readable: bool = True
    former: bool = False
    held: int = 0
    folders: list[Seen] = field(default_factory=list)
    special: list[Seen] = field(default_factory=list)
    same: list[tuple[bytes, Entry, bool, os.stat_result]] = field(default_factory=list)
    unknown: list[SeenFile] = field(default_factory=list)
    unreadable: list[tuple[bytes, Exception]] = field(default_factory=list)
    digest: bytes | None = None
    marks: bytes | memoryview = b""
    resting: Resting | None = None
    pieces: Pieces | None = None


class Looker:
    """Looks at the folders of one tree, which lies at `resolved` and is `shown` to patterns."""

    def __init__(
        self,
        resolved: bytes,
        excludes: Excludes,
        shown: str,
        *,
        load_blob: LoadBlob,
        compare: Compare,
        resting: RestingTrees | None = None,
    ) -> None:
        """Raises OSError when the tree cannot be read at all, and `BadPattern`."""
        self._resting = None if compare.force else resting
        self.resolved = resolved
        self.status = os.stat(resolved)  # noqa: PTH116  (bytes: names need not be text)
        self.rules = Rules(excludes, shown, self.status.st_dev)
        self._shown = shown
        self._load_blob = load_blob
        self._compare = compare

    def look(
        self,
        path: bytes,
        status: os.stat_result,
        rules: Rules,
        former: Entry | None,
        *,
        compared_anew: bool = False,
    ) -> Looked:
        """The folder at `path`; `rules` are those of the folder around it. With `compared_anew`
        nothing of it is taken to rest.
        """
        found = Looked(rules)
        names = self._names(path, status, found)
        if self._resting is not None and (facts := facts_of(names)) is not None:
            found.digest = facts.digest()
            tree = former.get("subtree") if former and not compared_anew else None
            kept = self._resting.get(tree) if tree and not found.unreadable else None
            if kept is not None and kept.digest == found.digest:
                return _as_it_rests(found, names, facts.folders, kept)
            marks = facts.marks()
            found.marks = b"".join(marks.values())
            if tree and kept is not None:
                told = self._resting_in_part(found, names, marks, tree, kept)
                if told is not None:
                    self._tell(found, path, *told)
                    return found
        self._tell(found, path, names, self._former_entries(former, found))
        return found

    def _tell(
        self,
        found: Looked,
        path: bytes,
        names: Mapping[bytes, os.stat_result],
        entries: Mapping[str, Entry],
    ) -> None:
        """Notes in `found` of each name what became of its former entry."""
        below = path + b"/"
        force = self._compare.force
        for name, about in names.items():
            kind = stat.S_IFMT(about.st_mode)
            earlier = entries.get(quote(name))
            if kind == stat.S_IFREG:
                if earlier is None or force:
                    known = earlier is not None
                elif is_described(earlier, about) and isinstance(earlier.get("content"), list):
                    found.same.append((name, earlier, True, about))
                    continue
                elif self._is_unchanged(earlier, about):
                    found.same.append((name, earlier, False, about))
                    continue
                else:
                    known = True
                found.unknown.append(SeenFile(below + name, name, about, known))
            elif kind == stat.S_IFDIR:
                found.folders.append((name, about, earlier))
            elif kind != stat.S_IFSOCK:  # as restic: a socket is nothing without its program
                found.special.append((name, about, earlier))

    def _resting_in_part(
        self,
        found: Looked,
        names: dict[bytes, os.stat_result],
        marks: Mapping[bytes, bytes],
        tree: str,
        kept: Resting,
    ) -> tuple[dict[bytes, os.stat_result], dict[str, Entry]] | None:
        """What is left to be told: names, and former entries; the rest is noted as resting. None
        when that cannot be said without comparing all.
        """
        known = kept.known_marks()
        told = {name: about for name, about in names.items() if marks.get(name) not in known}
        try:
            pieces = pieces_of(self._load_blob(bytes.fromhex(tree)))
            if pieces is None:
                return None
            resting = names.keys() - told.keys()
            gone = {name: entry_in(pieces[name]) for name in pieces.keys() - resting}
            left = kept.without(gone.values())
        except (DamagedData, ValueError, KeyError, TypeError):
            return None
        if left is None or left.files > len(resting) or len(pieces) != len(resting) + len(gone):
            return None
        found.former, found.held = True, len(pieces)
        for name in gone:
            del pieces[name]
        found.resting, found.pieces = left, pieces
        return told, {entry["name"]: entry for entry in gone.values()}

    def _names(
        self, path: bytes, status: os.stat_result, found: Looked
    ) -> dict[bytes, os.stat_result]:
        """What the folder holds and is not left out; notes its rules and what is unreadable."""
        names: dict[bytes, os.stat_result] = {}
        about = os.stat
        if path != self.resolved and not found.rules.enters(status):
            return names
        try:
            handle = os.open(path, _FOLDER)
        except OSError as error:
            found.readable = False
            found.unreadable.append((path, error))
            return names
        try:
            for shown_name in os.listdir(handle):  # noqa: PTH208  (cheaper than scandir)
                name = shown_name.encode(_CODING, _ERRORS)
                try:
                    names[name] = about(name, dir_fd=handle, follow_symlinks=False)
                except OSError as error:
                    found.unreadable.append((path + b"/" + name, error))
            shown = self._shown + os.fsdecode(path[len(self.resolved) :])
            try:
                found.rules = found.rules.inside(handle, shown, names)
            except (OSError, BadPattern) as error:
                found.unreadable.append((path + b"/.drkitignore", error))
            return found.rules.kept(handle, shown, names)
        except OSError as error:
            found.unreadable.append((path, error))
            return names
        finally:
            os.close(handle)

    def _former_entries(self, former: Entry | None, found: Looked) -> dict[str, Entry]:
        """The former entries by their quoted names; what cannot be compared is read again."""
        if former is None or former.get("type") != "dir" or not former.get("subtree"):
            return {}
        try:
            nodes = orjson.loads(self._load_blob(bytes.fromhex(former["subtree"])))["nodes"]
            entries = {node["name"]: node for node in nodes}
        except (DamagedData, ValueError, KeyError, TypeError):
            return {}
        found.former, found.held = True, len(entries)
        return entries

    def _is_unchanged(self, entry: Entry, status: os.stat_result) -> bool:
        compare = self._compare
        try:
            return isinstance(entry.get("content"), list) and is_unchanged(
                entry,
                status,
                ignore_inode=compare.ignore_inode,
                ignore_ctime=compare.ignore_ctime,
            )
        except (KeyError, TypeError, ValueError):  # a tree that is none of ours
            return False


def _as_it_rests(
    found: Looked, names: Mapping[bytes, os.stat_result], folders: Iterable[bytes], kept: Resting
) -> Looked:
    """What is told of a folder whose digest is as it was."""
    entries = {entry["name"]: entry for entry in kept.folders}
    found.folders = [(name, names[name], entries.get(quote(name))) for name in folders]
    found.former, found.held = True, len(kept.folders)
    found.resting, found.marks = kept, kept.marks
    return found


def is_described(entry: Entry, status: os.stat_result) -> bool:
    """Whether the entry, which may be none of ours, says what `status` says."""
    try:
        return describes(entry, status)
    except (KeyError, TypeError, ValueError):
        return False
