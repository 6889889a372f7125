"""What all resolvers share, and the two that look at this machine: a variable, a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MOST_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Absent:
    """There is no secret; `where` says in words where it was looked for and what was wrong."""

    where: str


@dataclass(frozen=True, slots=True)
class Places:
    """What resolvers may look at: variables, and the folder that relative files are below."""

    environ: Mapping[str, str]
    root: Path


def from_environment(name: str, places: Places) -> str | Absent:
    """The variable's text. One that is set to nothing counts as not set."""
    found = places.environ.get(name)
    if found is None:
        return Absent(f"${name} is not set")
    return found.rstrip("\r\n") or Absent(f"${name} is empty")


def from_file(name: str, places: Places) -> str | Absent:
    """The file's text without its trailing newlines; at most 1 MiB of UTF-8."""
    path = places.root / Path(name).expanduser()
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return Absent(f"{path} does not exist")
    except OSError as error:
        return Absent(f"{path} cannot be read: {error.strerror}")
    if len(data) > MOST_BYTES:
        return Absent(f"{path} is larger than any secret")
    return as_secret(data, str(path))


def as_secret(found: object, where: str) -> str | Absent:
    """`found` as text without its trailing newlines, if it is text and not empty."""
    if isinstance(found, bytes):
        try:
            found = found.decode()
        except UnicodeDecodeError:
            return Absent(f"{where} is not text")
    if not isinstance(found, str):
        return Absent(f"{where} is not text")
    return found.rstrip("\r\n") or Absent(f"{where} is empty")


def key_of(found: object, key: str, where: str) -> str | Absent:
    """The text under `key`, where `found` is the text of a JSON object."""
    try:
        values = json.loads(found) if isinstance(found, str | bytes) else None
    except ValueError:
        values = None
    if not isinstance(values, dict):
        return Absent(f"{where} is no JSON object, so it has no {key}")
    if key not in values:
        return Absent(f"{where} has no {key}")
    return as_secret(values[key], f"{where}#{key}")
