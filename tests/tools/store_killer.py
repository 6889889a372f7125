"""Runs as a process of its own (`killing`): works on folder stores, dies at a drawn system call.

Each order, `{root, source, work, ids, days, moment, power_cut}`, is one piece of work
(`killed_works.WORKS`), ended by SIGKILL before its `moment`-th call that changes a store. The
answer is how many calls there were. With `power_cut`, what was not synced by then is lost first:
files lose their content, names that were not made durable go, and what was removed without that is
back.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import repository_kit as kit
from killed_works import WORKS, opened
from killing import die, work_in_forks

from drkit.repository.backup import blob_writer


class Disk:
    """Counts the calls that change the stores, and knows what a power cut would take."""

    def __init__(self, root: Path, moment: int, power_cut: bool) -> None:
        self._root = str(root)
        self._moment = moment
        self._power_cut = power_cut
        self._lock = threading.RLock()
        self._unsynced: set[str] = set()
        self._unnamed: dict[str, set[str]] = {}
        self._former: dict[str, dict[str, str]] = {}
        """By folder: what lay at a path before, and would be back."""
        self._kept = 0
        self.calls = 0

    def install(self) -> None:
        for name in ("open", "write", "fsync", "unlink", "replace", "rename"):
            setattr(os, name, self._counted(name, getattr(os, name)))

    def _counted(self, name: str, call: Any) -> Any:
        def counted(*arguments: Any, **options: Any) -> Any:
            path = self._path(name, arguments)
            if not path.startswith(self._root) or (name == "open" and not self._creates(arguments)):
                return call(*arguments, **options)
            with self._lock:
                self.calls += 1
                if self.calls == self._moment:
                    self._die()
                if name in ("unlink", "replace", "rename"):
                    self._keep_former(path)
            result = call(*arguments, **options)
            with self._lock:
                self._note(name, path, arguments)
            return result

        return counted

    def _path(self, name: str, arguments: tuple[Any, ...]) -> str:
        if name in ("write", "fsync"):
            return os.readlink(f"/proc/self/fd/{arguments[0]}")
        return os.path.abspath(os.fsdecode(arguments[-1 if name in ("replace", "rename") else 0]))

    @staticmethod
    def _creates(arguments: tuple[Any, ...]) -> bool:
        return bool(arguments[1] & os.O_CREAT)

    def _keep_former(self, path: str) -> None:
        former = self._former.setdefault(os.path.dirname(path), {})
        if not self._power_cut or path in former or not os.path.exists(path):
            return
        if path in self._unnamed.get(os.path.dirname(path), ()):
            return  # its name was never durable
        self._kept += 1
        former[path] = f"{self._root}-former-{self._kept}"
        os.link(path, former[path])

    def _note(self, name: str, path: str, arguments: tuple[Any, ...]) -> None:
        folder = os.path.dirname(path)
        if name in ("open", "write"):
            self._unsynced.add(path)
        elif name == "fsync":
            self._unsynced.discard(path)
            self._unnamed.pop(path, None)
            for kept in self._former.pop(path, {}).values():
                _unlink(kept)
        elif name in ("replace", "rename"):
            before = os.path.abspath(os.fsdecode(arguments[0]))
            if before in self._unsynced:
                self._unsynced.discard(before)
                self._unsynced.add(path)
            self._unnamed.setdefault(folder, set()).add(path)

    def _die(self) -> None:
        if self._power_cut:
            for path in {each for paths in self._unnamed.values() for each in paths}:
                if os.path.exists(path):
                    _unlink(path)
            for former in self._former.values():
                for path, kept in former.items():
                    _replace(kept, path)
            for path in self._unsynced:
                if os.path.exists(path):
                    os.truncate(path, os.path.getsize(path) // 2)
        die()


_unlink, _replace = os.unlink, os.replace


def work(order: dict[str, Any]) -> int:
    root = Path(order["root"])
    blob_writer.PACK_BYTES = 1 << 20
    blob_writer._INDEX_EVERY_BLOBS = 4
    two = opened(kit, root, order["days"])
    disk = Disk(root, order["moment"], order["power_cut"])
    disk.install()
    WORKS[order["work"]](kit, two, Path(order["source"]), order["ids"])
    return disk.calls


work_in_forks(work)
