"""What a local instance leaves on disk: a folder with two small JSON files, each written whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from drkit.compute.interface import Endpoint, Offer
from drkit.compute.process import Process
from drkit.stores.durable import sync_folder, write_file

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
    values = {**asdict(record), "created_at": record.created_at.isoformat()}
    write_file(staged / INSTANCE, _json(values))
    folder = parent / record.id
    staged.rename(folder)
    sync_folder(parent)
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
    write_file(folder / PROCESS, _json(asdict(process)))


def read_process(folder: Path) -> Process | None:
    """None when nothing was ever started."""
    try:
        return Process(**json.loads((folder / PROCESS).read_bytes()))
    except FileNotFoundError:
        return None


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()
