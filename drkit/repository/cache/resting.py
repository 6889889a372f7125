"""Folders that are as a former tree says, told by a digest of names and metadata.

To read and compare a tree of JSON costs three times as much as to ask the system for what it tells.
So a scan keeps, for each folder whose tree says what the scan saw, a digest over all that was seen,
with the blobs of its files. Where the digest is the same at the next scan and the former tree is
that one, the tree is neither read nor compared.

What is kept lies sealed in the local cache, one object for each scanned root. Without it, a scan
compares as it did the first time.
"""

from __future__ import annotations

import hashlib
import stat
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import stat_result

import orjson

from drkit.errors import DamagedData
from drkit.repository.cache.local_cache import LocalCache
from drkit.repository.format.metadata import Entry, names_of
from drkit.repository.format.sealing import MasterKey

KIND = "resting"
_FORMAT = 1
_MOST_FOLDERS = 200_000  # some 1 KB each while they are in memory
_LENGTH = struct.Struct("<Q")
_FACTS = struct.Struct("<IQIIqqqQQQ")


@dataclass(frozen=True, slots=True)
class Resting:
    """One folder. `files` regular files of `size_bytes` have `blobs`, 32 bytes each; `folders` are
    the entries of those in it. The digest says that everything but these folders is as in its tree.
    """

    digest: bytes
    files: int
    size_bytes: int
    blobs: bytes | memoryview
    folders: list[Entry]


RestingTrees = Mapping[str, Resting]
"""By the id of the former tree."""


def digest_of(names: Mapping[bytes, stat_result]) -> bytes | None:
    """The digest of what a folder holds: names, and all of the metadata that a tree speaks of; of
    folders in it the names alone. None for numbers that no file system gives.
    """
    pack = _FACTS.pack
    hasher = hashlib.blake2b(digest_size=32, person=b"drkit resting 1")
    parts: list[bytes] = []
    owners: set[tuple[int, int]] = set()
    try:
        for name in sorted(names):
            about = names[name]
            mode, links = about.st_mode, about.st_nlink
            kind = stat.S_IFMT(mode)
            if kind == stat.S_IFDIR:
                parts += (name, b"/\0")
                continue
            if kind == stat.S_IFSOCK:  # not in a tree
                continue
            owners.add((about.st_uid, about.st_gid))
            parts += (
                name,
                b"\0",
                pack(
                    mode,
                    about.st_ino,
                    about.st_uid,
                    about.st_gid,
                    about.st_size,
                    about.st_mtime_ns,
                    about.st_ctime_ns,
                    links,
                    about.st_dev if links > 1 else 0,
                    about.st_rdev,
                ),
            )
    except struct.error:
        return None
    for uid, gid in sorted(owners):
        user, group = names_of(uid, gid)
        parts.append(f"{uid}={user}\0{gid}={group}\0".encode("utf-8", "surrogateescape"))
    hasher.update(b"".join(parts))
    return hasher.digest()


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
        tree: [kept.digest.hex(), kept.files, kept.size_bytes, len(kept.blobs), kept.folders]
        for tree, kept in trees.items()
    }
    head = orjson.dumps({"drkit": _FORMAT, "root": root.hex(), "trees": rows})
    return b"".join((_LENGTH.pack(len(head)), head, *(kept.blobs for kept in trees.values())))


def _decode(content: memoryview, root: bytes) -> RestingTrees:
    (length,) = _LENGTH.unpack_from(content)
    at = _LENGTH.size + length
    head = orjson.loads(content[_LENGTH.size : at])
    if head["drkit"] != _FORMAT or head["root"] != root.hex():
        raise ValueError("kept by another version, or of another root")
    found: dict[str, Resting] = {}
    for tree, (digest, files, size, length, folders) in head["trees"].items():
        blobs = content[at : at + length]
        if len(blobs) != length or length % 32:
            raise ValueError("too short")
        found[tree] = Resting(bytes.fromhex(digest), files, size, blobs, folders)
        at += length
    return found


def blobs_of(entries: Iterable[Entry]) -> bytes:
    """The ids of the content of files, one after the other. ValueError for what is no id."""
    return bytes.fromhex("".join(blob for entry in entries for blob in entry["content"]))


def _name(root: bytes) -> str:
    return hashlib.sha256(b"resting " + root).hexdigest()
