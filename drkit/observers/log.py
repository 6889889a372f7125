"""A JSON line for each alert, at the end of a file, on the disk when it was told."""

from __future__ import annotations

import json
import os
from pathlib import Path

from drkit.observers.interface import Alert, ObserverFailed, alert_json
from drkit.stores.durable import write_all


class LogFile:
    """The file `path`, made if absent. A line that a crash cut short is ended by the next one."""

    def __init__(self, name: str, path: Path) -> None:
        self._name = name
        self._path = path

    @property
    def name(self) -> str:
        return self._name

    def notice(self, alert: Alert) -> None:
        line = json.dumps(alert_json(alert)).encode() + b"\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            handle = os.open(self._path, flags, 0o640)
            try:
                write_all(handle, line if _is_ended(handle) else b"\n" + line)
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise ObserverFailed(
                f"{self._name}: {self._path} cannot be written: {error.strerror or error}",
                hint="see that its folder is there, writable, and not full",
            ) from error


def _is_ended(handle: int) -> bool:
    size = os.fstat(handle).st_size
    return size == 0 or os.pread(handle, 1, size - 1) == b"\n"
