"""Paths of schedules.yaml as places on this machine: relative ones lie below the file's folder.

Not below the working directory: cron, the daemon and a terminal elsewhere mean the same places.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from drkit.config.fields import LocalPath, declared_as

Part = TypeVar("Part", bound=BaseModel)


def with_absolute_paths(part: Part, folder: Path) -> Part:
    """`part` with every `LocalPath` absolute; `~` is the home folder. Nothing is looked up.

    An address (`scheme://...`) stays as it is, and so do `file:` secrets, whose resolver knows
    the folder. Doing it twice changes nothing.
    """
    paths = declared_as(type(part), LocalPath)
    changed: dict[str, Any] = {}
    for field in type(part).model_fields:
        value = getattr(part, field)
        new = _absolute(value, folder) if field in paths else _located(value, folder)
        if new is not value:
            changed[field] = new
    return part.model_copy(update=changed) if changed else part


def _located(value: Any, folder: Path) -> Any:
    """`value` with the paths of the parts in it absolute; itself when it holds none."""
    if isinstance(value, BaseModel):
        return with_absolute_paths(value, folder)
    if isinstance(value, dict):
        mapped = {key: _located(inner, folder) for key, inner in value.items()}
        same = all(mapped[key] is inner for key, inner in value.items())
        return value if same else mapped
    if isinstance(value, tuple):
        items = tuple(_located(inner, folder) for inner in value)
        return value if all(map(lambda a, b: a is b, items, value)) else items
    return value


def _absolute(path: str | None, folder: Path) -> str | None:
    if path is None or "://" in path or Path(path).is_absolute():
        return path
    return str(folder / Path(path).expanduser())
