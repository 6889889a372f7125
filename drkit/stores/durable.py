"""Files that survive a power cut: written whole, synced, renamed, and the folder synced too."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path


def sync_folder(path: Path) -> None:
    """Makes what was created, renamed or removed directly in `path` durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folders(path: Path) -> None:
    """Makes `path` and what is missing above it, durably; folders that exist are left alone."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def write_all(handle: int, data: bytes | bytearray | memoryview) -> int:
    """Writes all of `data` however many calls that takes; returns its length in bytes."""
    view = memoryview(data).cast("B")
    sent = 0
    while sent < len(view):
        sent += os.write(handle, view[sent:])
    return sent


def write_file(path: Path, data: bytes | Iterable[bytes], *, mode: int = 0o600) -> None:
    """Replaces `path` atomically and durably; whatever fails leaves the old file as it was.

    The half-written file lies beside it as `.<name>.<random>.tmp`.
    """
    make_folders(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        try:
            for chunk in (data,) if isinstance(data, bytes) else data:
                write_all(handle, chunk)
            os.fsync(handle)
        finally:
            os.close(handle)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
