"""Folders that are as a former tree says, told by a digest of names and metadata.

To read and compare a tree of JSON costs three times as much as to ask the system for what it tells.
So a scan keeps, for each folder whose tree says what the scan saw, a digest over all that was seen,
with the blobs of its files. Where the digest is the same at the next scan and the former tree is
that one, the tree is neither read nor compared. Where it is another one, marks of what lies in the
folder, kept beside it, tell what of that is as it was.

What is kept lies sealed in the local cache, one object for each scanned root. Without it, a scan
compares as it did the first time.
"""

from __future__ import annotations

import hashlib
import stat
import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import starmap
from operator import attrgetter
from os import stat_result

import orjson

from drkit.errors import DamagedData
from drkit.repository.cache.local_cache import LocalCache
from drkit.repository.format.metadata import Entry, names_of
from drkit.repository.format.sealing import MasterKey

KIND = "resting"
_FORMAT = 3
_MOST_FOLDERS = 200_000  # some 1 KB each while they are in memory
_LENGTH = struct.Struct("<Q")
_FACTS = struct.Struct("<IQIIqqqQQ8x")
_FACTS_OF_LINKED = struct.Struct("<IQIIqqqQQQ")  # a device is told only where there are more links
_facts_of = attrgetter(
    *("st_mode", "st_ino", "st_uid", "st_gid", "st_size", "st_mtime_ns", "st_ctime_ns"),
    *("st_nlink", "st_rdev"),
)
_owner_of = attrgetter("st_uid", "st_gid")
_links_of = attrgetter("st_nlink")
_mode_of = attrgetter("st_mode")
_APART = frozenset((stat.S_IFDIR, stat.S_IFSOCK))
_MARK_BYTES = 8
_MARK = struct.Struct(f"{_MARK_BYTES}s")
_BLOB = struct.Struct("32s")


@dataclass(frozen=True, slots=True)
class Resting:
    """One folder. `files` regular files of `size_bytes` have `blobs`, 32 bytes each; `folders` are
    the entries of those in it. The digest says that everything but these folders is as in its tree;
    `marks` say it of each one, in no order.
    """

    digest: bytes
    files: int
    size_bytes: int
    blobs: bytes | memoryview
    folders: list[Entry]
    marks: bytes | memoryview

    def known_marks(self) -> frozenset[bytes]:
        """The marks of what is in the folder as its tree says."""
        return frozenset(mark for (mark,) in _MARK.iter_unpack(self.marks))

    def without(self, entries: Iterable[Entry]) -> Resting | None:
        """What rests when these entries of the tree, and all folders, do not; None when they are
        not what is kept of the tree. KeyError and the like for entries that are none of ours.
        """
        gone = [entry for entry in entries if entry["type"] == "file"]
        blobs = _without(self.blobs, blobs_of(gone))
        if blobs is None or len(gone) > self.files:
            return None
        size_bytes = self.size_bytes - sum(entry.get("size", 0) for entry in gone)
        return replace(
            self, files=self.files - len(gone), size_bytes=size_bytes, blobs=blobs, folders=[]
        )

    def with_entries(
        self, entries: Sequence[Entry], digest: bytes, marks: bytes | memoryview
    ) -> Resting:
        """As a folder is kept with these entries beside. KeyError and the like as above."""
        files = [entry for entry in entries if entry["type"] == "file"]
        return Resting(
            digest,
            self.files + len(files),
            self.size_bytes + sum(entry.get("size", 0) for entry in files),
            bytes(self.blobs) + blobs_of(files),
            [entry for entry in entries if entry["type"] == "dir"],
            marks,
        )


NOTHING = Resting(b"", 0, 0, b"", [], b"")
"""Of a folder in which nothing rests."""
RestingTrees = Mapping[str, Resting]
"""By the id of the former tree."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a folder holds: names, and all of the metadata that a tree speaks of; of the `folders`
    in it the names alone. Sockets are in no tree, and not here.
    """

    folders: list[bytes]
    others: list[bytes]
    statuses: list[stat_result]
    facts: list[bytes]

    def digest(self) -> bytes:
        """The digest of all."""
        folders = sorted(self.folders)
        hasher = hashlib.blake2b(digest_size=32, person=b"drkit resting 2")
        hasher.update(b"%d %d\0" % (len(folders), len(self.others)))
        hasher.update(b"\0".join((*folders, *self.others, b"")))
        hasher.update(b"".join(self.facts))
        hasher.update(b"".join(starmap(_owner, sorted(set(map(_owner_of, self.statuses))))))
        return hasher.digest()

    def marks(self) -> dict[bytes, bytes]:
        """By name what is to be said of each thing alone, but of folders: a digest of that, which
        goes on from that of its owner. Facts are all of one length.
        """
        owners = list(map(_owner_of, self.statuses))
        begun = {
            owner: hashlib.blake2b(_owner(*owner), digest_size=_MARK_BYTES) for owner in set(owners)
        }
        marks = {}
        for name, facts, owner in zip(self.others, self.facts, owners, strict=True):
            hasher = begun[owner].copy()
            hasher.update(facts + name)
            marks[name] = hasher.digest()
        return marks


def facts_of(names: Mapping[bytes, stat_result]) -> Facts | None:
    """The facts of a folder that holds `names`. None for numbers that no file system gives."""
    folders: list[bytes] = []
    others = sorted(names)
    if not _APART.isdisjoint(map(stat.S_IFMT, map(_mode_of, names.values()))):
        kinds = {name: stat.S_IFMT(about.st_mode) for name, about in names.items()}
        folders = [name for name, kind in kinds.items() if kind == stat.S_IFDIR]
        others = [name for name in others if kinds[name] not in _APART]
    statuses = list(map(names.__getitem__, others))
    try:
        if max(map(_links_of, statuses), default=0) < 2:
            facts = list(starmap(_FACTS.pack, map(_facts_of, statuses)))
        else:
            facts = [
                _FACTS.pack(*_facts_of(about))
                if about.st_nlink < 2
                else _FACTS_OF_LINKED.pack(*_facts_of(about), about.st_dev)
                for about in statuses
            ]
    except struct.error:
        return None
    return Facts(folders, others, statuses, facts)


@lru_cache(maxsize=1024)
def _owner(uid: int, gid: int) -> bytes:
    user, group = names_of(uid, gid)
    return f"{uid}={user}\0{gid}={group}\0".encode("utf-8", "surrogateescape")


class RestingMemory:
    """Which folders of a root rest, from one scan to the next."""

    def __init__(self, cache: LocalCache, key: MasterKey) -> None:
        self._cache = cache
        self._key = key

    def load(self, root: bytes) -> RestingTrees:
        """What was kept of the root; nothing where that is damaged, or another key's."""
        content = self._cache.get(KIND, _name(root))
        if content is None:
            return {}
        try:
            return _decode(memoryview(self._key.open(content)), root)
        except (DamagedData, ValueError, KeyError, TypeError, struct.error):
            self._cache.drop(KIND, _name(root))
            return {}

    def keep(self, root: bytes, trees: RestingTrees) -> None:
        """Keeps `trees` of the root for the next scan, instead of what was kept before."""
        if len(trees) <= _MOST_FOLDERS:
            self._cache.put(KIND, _name(root), self._key.seal(_encode(trees, root)))


def _encode(trees: RestingTrees, root: bytes) -> bytes:
    rows = {
        tree: [
            *(kept.digest.hex(), kept.files, kept.size_bytes, kept.folders),
            *(len(kept.blobs), len(kept.marks)),
        ]
        for tree, kept in trees.items()
    }
    head = orjson.dumps({"drkit": _FORMAT, "root": root.hex(), "trees": rows})
    parts = (part for kept in trees.values() for part in (kept.blobs, kept.marks))
    return b"".join((_LENGTH.pack(len(head)), head, *parts))


def _decode(content: memoryview, root: bytes) -> RestingTrees:
    (length,) = _LENGTH.unpack_from(content)
    at = _LENGTH.size + length
    head = orjson.loads(content[_LENGTH.size : at])
    if head["drkit"] != _FORMAT or head["root"] != root.hex():
        raise ValueError("kept by another version, or of another root")
    found: dict[str, Resting] = {}
    for tree, (digest, files, size, folders, blobs, marks) in head["trees"].items():
        middle, end = at + blobs, at + blobs + marks
        if min(blobs, marks) < 0 or end > len(content) or blobs % 32 or marks % _MARK_BYTES:
            raise ValueError("too short")
        found[tree] = Resting(
            bytes.fromhex(digest), files, size, content[at:middle], folders, content[middle:end]
        )
        at = end
    return found


def blobs_of(entries: Iterable[Entry]) -> bytes:
    """The ids of the content of files, one after the other. ValueError for what is no id."""
    return bytes.fromhex("".join(blob for entry in entries for blob in entry["content"]))


def _without(blobs: bytes | memoryview, gone: bytes) -> bytes | None:
    """`blobs` without `gone`, each as often as it is in there; None when it is not so often."""
    left = Counter(blob for (blob,) in _BLOB.iter_unpack(gone))

    def stays(blob: bytes) -> bool:
        left[blob] -= 1
        return left[blob] < 0

    kept = [b for (b,) in _BLOB.iter_unpack(blobs) if b not in left or stays(b)]
    return None if any(count > 0 for count in left.values()) else b"".join(kept)


def _name(root: bytes) -> str:
    return hashlib.sha256(b"resting " + root).hexdigest()
