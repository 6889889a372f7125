"""Where a secret of each scheme is read: an environment variable, a file."""

from __future__ import annotations

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
    try:
        text = data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        return Absent(f"{path} is not text")
    return text or Absent(f"{path} is empty")
