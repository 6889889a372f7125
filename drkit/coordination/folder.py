"""Leases and roles in a folder, for one machine: a locked file decides who comes first.

The kernel drops the lock of a process that is killed, and the state is replaced by a rename; so a
crash leaves the state of before or of after, and nothing to clean up.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from drkit.coordination.arbiter import Step
from drkit.coordination.codec import MOST_BYTES, decode, encode
from drkit.coordination.interface import ArbiterUnreachable
from drkit.coordination.rules import ServiceState
from drkit.errors import GuardRefused
from drkit.io_policy import ADMIN_CALL
from drkit.stores.durable import make_folders, write_file

_PAUSE_S = 0.02
_PROOF = ".proof"


class FolderPlace:
    """`Place` in `root`, which is made when something is written."""

    def __init__(self, root: Path, *, patience_s: float = ADMIN_CALL.total_s) -> None:
        self._root = root
        self._patience_s = patience_s

    def read(self, service: str) -> ServiceState:
        with self._explained(service):
            return self._read(service)

    def change(self, service: str, step: Step) -> ServiceState:
        with self._explained(service), self._locked(service):
            state = self._read(service)
            changed = step(state)
            if changed != state:
                write_file(self._path(service, "json"), encode(changed))
            return changed

    def prove(self) -> str:
        """Two locks on one file: a file system that grants both has none."""
        with self._explained("the arbiter"), self._locked(_PROOF):
            path = self._path(_PROOF, "lock")
            second = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if _try_lock(second):
                    raise GuardRefused(
                        f"{self._root}: two processes get the same lock",
                        hint="the file system there has no locks; name a local folder",
                    )
            finally:
                os.close(second)
                path.unlink(missing_ok=True)
        return "it gave a lock to one, and refused it to a second"

    def skew_s(self) -> float | None:
        return None  # one machine, one clock

    def _read(self, service: str) -> ServiceState:
        path = self._path(service, "json")
        try:
            with path.open("rb") as file:
                data = file.read(MOST_BYTES + 1)
        except FileNotFoundError:
            return ServiceState()
        return decode(data, service=service, found_in=str(path))

    def _path(self, service: str, ending: str) -> Path:
        return self._root / f"service-{quote(service, safe='')}.{ending}"

    @contextmanager
    def _locked(self, service: str) -> Iterator[None]:
        make_folders(self._root)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(self._path(service, "lock"), flags, 0o600)
        try:
            waited_s = 0.0
            while not _try_lock(handle):
                if waited_s >= self._patience_s:
                    raise ArbiterUnreachable(
                        f"{self._root}: another process has kept the lock for {waited_s:.0f} s",
                        hint="is a drkit process stopped? `drkit runs list` names them",
                    )
                time.sleep(_PAUSE_S)
                waited_s += _PAUSE_S
            yield
        finally:
            os.close(handle)

    @contextmanager
    def _explained(self, service: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ArbiterUnreachable(
                f"{self._root}: lease and role of {service}: {error.strerror or error}",
                hint="see that the arbiter's folder is there, may be written, and has room",
            ) from error


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
