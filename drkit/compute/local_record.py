"""What a local instance leaves on disk: a folder with two small JSON files, each written whole."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from drkit.compute.interface import Endpoint, Offer
from drkit.compute.process import Process

INSTANCE = "instance.json"
PROCESS = "process.json"
LOG = "server.log"
MODEL = "model"


@dataclass(frozen=True, slots=True)
class Record:
    """`instance.json`: what was asked for. Written before anything is started."""

    id: str
    tags: Mapping[str, str]
    created_at: datetime
    offer: Offer
    endpoint: Endpoint


def write_record(parent: Path, record: Record) -> Path:
    """The instance's folder, which appears with its record in it or not at all."""
    staged = parent / f".{record.id}.new"
    staged.mkdir(parents=True)
    _write(staged / INSTANCE, {**asdict(record), "created_at": record.created_at.isoformat()})
    folder = parent / record.id
    staged.rename(folder)
    _sync_folder(parent)
    return folder


def read_record(folder: Path) -> Record | None:
    """None when the folder is no instance's."""
    try:
        raw = json.loads((folder / INSTANCE).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Record(
        id=raw["id"],
        tags=raw["tags"],
        created_at=datetime.fromisoformat(raw["created_at"]),
        offer=Offer(**raw["offer"]),
        endpoint=Endpoint(**raw["endpoint"]),
    )


def write_process(folder: Path, process: Process) -> None:
    staged = folder / f".{PROCESS}.new"
    _write(staged, asdict(process))
    staged.rename(folder / PROCESS)
    _sync_folder(folder)


def read_process(folder: Path) -> Process | None:
    """None when nothing was ever started."""
    try:
        return Process(**json.loads((folder / PROCESS).read_bytes()))
    except FileNotFoundError:
        return None


def _write(path: Path, value: Mapping[str, Any]) -> None:
    with path.open("wb") as file:
        file.write(json.dumps(value, indent=1, sort_keys=True).encode())
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
