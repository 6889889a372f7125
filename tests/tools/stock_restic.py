"""The real restic on a store of a test, and stores of a process that dies at a given write."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import ModuleType

from drkit.stores.folder import FolderStore
from drkit.stores.memory import MemoryStore, Trouble


class Restic:
    """A stock restic on the repository in one store's folder."""

    def __init__(self, binary: Path, store: Path, password: str) -> None:
        self._binary = binary
        self._store = store
        self._environment = {**os.environ, "RESTIC_PASSWORD": password}

    def __call__(self, *arguments: str) -> str:
        return self.bytes_of(*arguments).decode()

    def bytes_of(self, *arguments: str) -> bytes:
        """What it printed; the test fails with all that it said when it failed."""
        done = subprocess.run(
            [str(self._binary), "-r", str(self._store / "repository"), "--no-cache", *arguments],
            env=self._environment,
            capture_output=True,
            timeout=90,
        )
        assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")
        return done.stdout


def run(binary: Path, kit: ModuleType, store: Path, *arguments: str) -> str:
    """All that restic said of the repository in the folder `store`."""
    done = subprocess.run(
        [str(binary), "-r", str(store / "repository"), "--no-cache", *arguments],
        env={**os.environ, "RESTIC_PASSWORD": kit.PASSWORD},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def prove_sound(binary: Path, password: str, store: MemoryStore, folder: Path) -> None:
    """`restic check --read-data` finds no error in what the store holds."""
    on_disk = FolderStore(store.name, folder)
    for name, content in store.objects.items():
        if "/locks/" not in name:
            on_disk.put(name, content, size_bytes=len(content))
    assert "no errors were found" in Restic(binary, folder, password)("check", "--read-data")


class DyingStore(MemoryStore):
    """A store of a process that dies before a given write: from then on nothing is done.

    `left` counts the writes of all such stores; the process cannot clean up after itself.
    """

    left = 10**9

    def _meet(self, call: str, name: str) -> Trouble | None:
        if call in ("put", "delete"):
            if DyingStore.left <= 0:
                raise SystemExit("dead")
            DyingStore.left -= 1
        return super()._meet(call, name)
