"""What was read and sent before: a file that only saves work, and may be deleted at any time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from drkit.mirror.files import Stamp, WeightFile
from drkit.mirror.manifest import FileEntry, TensorRange
from drkit.stores.durable import write_file


class KnownFiles:
    """Digests of files by their stamp, and which content each store was given whole."""

    def __init__(self, path: Path, *, model: str, revision: str) -> None:
        self._path = path
        self._of = {"drkit": 1, "model": model, "revision": revision}
        self._files: dict[str, tuple[Stamp, FileEntry]] = {}
        self._sent: dict[str, dict[str, str]] = {}
        try:
            self._read(orjson.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError, KeyError):
            self._files, self._sent = {}, {}

    def entry(self, file: WeightFile) -> FileEntry | None:
        """The digests of `file`, if it was read and has not changed since."""
        stamp, entry = self._files.get(file.path, (None, None))
        return entry if stamp == file.stamp else None

    def remember(self, file: WeightFile, entry: FileEntry) -> None:
        self._files[file.path] = (file.stamp, entry)

    def sent(self, store: str, path: str) -> str | None:
        """SHA-256 of the content that `store` took whole under `path`, if it did."""
        return self._sent.get(store, {}).get(path)

    def remember_sent(self, store: str, path: str, sha256: str) -> None:
        self._sent.setdefault(store, {})[path] = sha256

    def save(self) -> None:
        files = {
            path: [
                [stamp.size_bytes, stamp.mtime_ns, stamp.inode],
                entry.sha256,
                [[t.name, t.begin, t.end, t.sha256] for t in entry.tensors],
            ]
            for path, (stamp, entry) in self._files.items()
        }
        write_file(self._path, orjson.dumps({**self._of, "files": files, "sent": self._sent}))

    def _read(self, value: dict[str, Any]) -> None:
        if any(value[key] != wanted for key, wanted in self._of.items()):
            return
        for path, (stamp, sha256, tensors) in value["files"].items():
            entry = FileEntry(path, stamp[0], sha256, tuple(TensorRange(*t) for t in tensors))
            self._files[path] = (Stamp(*stamp), entry)
        self._sent = {store: dict(sent) for store, sent in value["sent"].items()}
