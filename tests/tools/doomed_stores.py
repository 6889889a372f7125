"""For scripts that tests kill: folder stores whose process ends by SIGKILL at one of their writes.

A script runs with this folder and the project on its path: `environment` is what it needs.
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

from drkit.stores.folder import FolderStore

TOOLS = Path(__file__).parent


def environment() -> dict[str, str]:
    path = os.pathsep.join(map(str, (TOOLS, TOOLS.parents[1])))
    return {**os.environ, "PYTHONPATH": path}


class Fuse:
    """Burns `left` times; the last time the process is gone. Nought lasts for ever."""

    def __init__(self, left: int) -> None:
        self._left = left
        self._lock = threading.Lock()

    def burn(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


class DoomedStore(FolderStore):
    """Burns `fuse` after each write and each deletion of a name below `below`; or `before` it."""

    def __init__(
        self, name: str, root: Path, fuse: Fuse, *, below: str = "", before: bool = False
    ) -> None:
        super().__init__(name, root)
        self._fuse = fuse
        self._below = below
        self._before = before

    def put(self, name: str, data: Any, *, size_bytes: int) -> None:
        self._burn(name, before=True)
        super().put(name, data, size_bytes=size_bytes)
        self._burn(name, before=False)

    def delete(self, name: str) -> None:
        self._burn(name, before=True)
        super().delete(name)
        self._burn(name, before=False)

    def _burn(self, name: str, *, before: bool) -> None:
        if before == self._before and name.startswith(self._below):
            self._fuse.burn()
