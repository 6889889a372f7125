"""What a folder holds now, beside what it held at an earlier scan: names and metadata, no content.

It needs nothing of the stores but the former trees, so that a run may look ahead while it waits for
them; what was seen then is the same as if it had been seen by the scan.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson

from drkit.errors import DamagedData
from drkit.repository.backup.excludes import Rules
from drkit.repository.backup.file_reader import SeenFile
from drkit.repository.cache.resting import Resting, RestingTrees, digest_of
from drkit.repository.format.metadata import Entry, describes, is_unchanged
from drkit.repository.format.quoting import quote
from drkit.sources.interface import Excludes
from drkit.sources.patterns import BadPattern

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
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
    are to be read. `rules` are those of the folder. `digest` is that of
    all that was seen. `resting`: it is that of the former tree, and only `folders` are told.
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
    resting: Resting | None = None


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
        if self._resting is not None:
            found.digest = digest_of(names)
            tree = former.get("subtree") if former and not compared_anew else None
            kept = self._resting.get(tree) if tree else None
            if kept is not None and kept.digest == found.digest and not found.unreadable:
                return _as_it_rests(found, names, kept)
        entries = self._former_entries(former, found)
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
        return found

    def _names(
        self, path: bytes, status: os.stat_result, found: Looked
    ) -> dict[bytes, os.stat_result]:
        """What the folder holds and is not left out; notes its rules and what is unreadable."""
        names: dict[bytes, os.stat_result] = {}
        if path != self.resolved and not found.rules.enters(status):
            return names
        try:
            handle = os.open(path, _FOLDER)
        except OSError as error:
            found.readable = False
            found.unreadable.append((path, error))
            return names
        try:
            for name in map(os.fsencode, os.listdir(handle)):  # noqa: PTH208  (cheaper than scandir)
                try:
                    names[name] = os.stat(name, dir_fd=handle, follow_symlinks=False)
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


def _as_it_rests(found: Looked, names: dict[bytes, os.stat_result], kept: Resting) -> Looked:
    """What is told of a folder whose digest is as it was."""
    entries = {entry["name"]: entry for entry in kept.folders}
    found.folders = [
        (name, about, entries.get(quote(name)))
        for name, about in names.items()
        if stat.S_ISDIR(about.st_mode)
    ]
    found.former, found.held = True, len(kept.folders)
    found.resting = kept
    return found


def is_described(entry: Entry, status: os.stat_result) -> bool:
    """Whether the entry, which may be none of ours, says what `status` says."""
    try:
        return describes(entry, status)
    except (KeyError, TypeError, ValueError):
        return False
