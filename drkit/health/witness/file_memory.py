"""What a witness knew, one JSON file for each name in one folder."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

from drkit.stores.durable import write_file

_MOST_BYTES = 1 << 20


class FileMemory:
    """Satisfies `Memory`. What cannot be read is as if it had never been known."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def remember(self, name: str, value: object) -> None:
        write_file(self._path(name), json.dumps(value).encode())

    def recall(self, name: str) -> object:
        try:
            with self._path(name).open("rb") as file:
                return json.loads(file.read(_MOST_BYTES))
        except (OSError, ValueError):
            return None

    def _path(self, name: str) -> Path:
        return self._folder / f"{quote(name, safe='')}.json"
