"""What a scan leaves out: restic's exclude rules, and `.drkitignore` files."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from drkit.sources.interface import Excludes
from drkit.sources.patterns import BadPattern, Patterns, read_patterns

IGNORE_FILE = b".drkitignore"
_CACHE_TAG = b"CACHEDIR.TAG"
_CACHE_HEADER = b"Signature: 8a477f597d28d172789f06886806bc55"
_MAX_IGNORE_BYTES = 1 << 20


class Rules:
    """The rules of one folder and of all below it; `inside` makes those of a folder below."""

    def __init__(self, excludes: Excludes, root: str, device: int) -> None:
        """`root`: the absolute path of the source, as it is configured. Raises `BadPattern`."""
        self._excludes = excludes
        self._root = root
        self._device = device
        self._lists: tuple[Patterns, ...] = ()
        if excludes.patterns:
            self._lists += (Patterns(excludes.patterns, below=root),)
        if excludes.ipatterns:
            self._lists += (Patterns(excludes.ipatterns, below=root, fold_case=True),)
        tags = tuple(_tag(text) for text in excludes.if_present)
        self._tags = ((_CACHE_TAG, _CACHE_HEADER), *tags) if excludes.caches else tags

    def inside(self, folder: int, path: str, names: Mapping[bytes, os.stat_result]) -> Rules:
        """The rules for what lies in the open `folder`, which holds `names`.

        Raises OSError and `BadPattern` where its `.drkitignore` cannot be used.
        """
        status = names.get(IGNORE_FILE)
        if not self._excludes.ignore_files or status is None or not stat.S_ISREG(status.st_mode):
            return self
        if status.st_size > _MAX_IGNORE_BYTES:
            raise BadPattern(f"it is larger than {_MAX_IGNORE_BYTES} bytes")
        text = os.fsdecode(_head(folder, IGNORE_FILE, _MAX_IGNORE_BYTES))
        rules = object.__new__(Rules)
        rules._excludes, rules._root, rules._device = self._excludes, self._root, self._device
        rules._tags = self._tags
        own = Patterns(read_patterns(text), below=path, at=path.rstrip("/"))
        rules._lists = (*self._lists, own)
        return rules

    def kept(
        self, folder: int, path: str, names: dict[bytes, os.stat_result]
    ) -> dict[bytes, os.stat_result]:
        """Those of `names` in the open `folder` (at `path`) that are not left out."""
        for tag, header in self._tags:
            if tag in names and _has_header(folder, tag, header):
                names = {tag: names[tag]}
        larger = self._excludes.larger_than_bytes
        if larger is not None:
            names = {
                name: status
                for name, status in names.items()
                if status.st_size <= larger or stat.S_ISDIR(status.st_mode)
            }
        if self._lists:
            start = path.rstrip("/") + "/"
            for patterns in self._lists:
                names = {
                    name: status
                    for name, status in names.items()
                    if not patterns.match(start + os.fsdecode(name))
                }
        return names

    def enters(self, status: os.stat_result) -> bool:
        """Whether the content of a folder is taken: a mount point is kept as an empty one."""
        return not self._excludes.one_file_system or status.st_dev == self._device


def _tag(text: str) -> tuple[bytes, bytes]:
    """`NAME` or `NAME:HEADER`, as restic's --exclude-if-present has it."""
    name, _, header = text.partition(":")
    return os.fsencode(name), os.fsencode(header)


def _has_header(folder: int, name: bytes, header: bytes) -> bool:
    try:
        return not header or _head(folder, name, len(header)) == header
    except OSError:  # as restic: what cannot be read is no tag
        return False


def _head(folder: int, name: bytes, length: int) -> bytes:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(name, flags, dir_fd=folder)
    try:
        return os.read(handle, length)
    finally:
        os.close(handle)
