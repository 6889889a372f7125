"""Which snapshots hold a file, by name, path or time; or what uses a blob, tree or pack."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from drkit.errors import ConfigError
from drkit.repository.format.tree import Node
from drkit.repository.repository import ListedSnapshot, Repository
from drkit.repository.trees.walk import Entry, OnDamage, entries


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for: names, or paths whose start may be left away. "*" crosses no `/`, "**"
    does; what lies in a folder that matches is found too, as by restic. Times are nanoseconds.
    """

    patterns: tuple[str, ...]
    ignore_case: bool = False
    oldest_ns: int | None = None
    newest_ns: int | None = None


@dataclass(frozen=True, slots=True)
class BlobUse:
    """Where a blob is used: `entry` is None for a snapshot's own root tree."""

    kind: str
    id: str
    entry: Entry | None
    pack: str | None


def find_paths(
    repository: Repository, tree_id: str, wanted: Wanted, on_damage: OnDamage
) -> Iterator[Entry]:
    """Every entry below the snapshot's `tree_id` that any pattern of `wanted` names."""
    matches = _matcher(wanted)
    for entry in entries(repository, tree_id, on_damage=on_damage):
        if matches(entry.path) and _in_time(entry.node, wanted):
            yield entry


def find_blobs(
    repository: Repository,
    snapshot: ListedSnapshot,
    prefixes: Sequence[str],
    *,
    kind: str,
    on_damage: OnDamage,
) -> Iterator[BlobUse]:
    """Every use in `snapshot` of blobs (`kind` "blob" or "tree") or packs ("pack") whose ids
    start with one of `prefixes`. Raises ConfigError for a prefix that is none.
    """
    for prefix in prefixes:
        if not re.fullmatch("[0-9a-f]{2,64}", prefix):
            raise ConfigError(
                f"{prefix!r} is no start of an id", hint="write two hexadecimal digits or more"
            )
    starts = tuple(prefixes)

    def wanted_blob(blob_id: str) -> bool:
        if kind != "pack":
            return blob_id.startswith(starts)
        places = repository.index.find_all(bytes.fromhex(blob_id))
        return any(place.pack_id.startswith(starts) for place in places)

    def use(what: str, blob_id: str, entry: Entry | None) -> BlobUse:
        place = repository.index.find(bytes.fromhex(blob_id))
        return BlobUse(what, blob_id, entry, place.pack_id if place else None)

    if kind != "blob" and wanted_blob(snapshot.snapshot.tree):
        yield use("tree", snapshot.snapshot.tree, None)
    for entry in entries(repository, snapshot.snapshot.tree, on_damage=on_damage):
        if kind != "blob" and entry.node.subtree and wanted_blob(entry.node.subtree):
            yield use("tree", entry.node.subtree, entry)
        if kind != "tree":
            for blob in entry.node.content:
                if wanted_blob(blob.hex()):
                    yield use("data", blob.hex(), entry)


def read_moment(text: str) -> int:
    """Nanoseconds since 1970 of a date, or a date and time, of this machine's zone unless it says
    another. ConfigError shows how it is written.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{text!r} is no time", hint="write it as 2026-01-31 or '2026-01-31 10:00:00'"
        ) from None
    return int(moment.astimezone().timestamp() * 1_000_000) * 1000


def _matcher(wanted: Wanted) -> Callable[[str], bool]:
    flags = re.DOTALL | (re.IGNORECASE if wanted.ignore_case else 0)
    patterns = [re.compile(_expression(pattern), flags) for pattern in wanted.patterns]
    return lambda path: any(pattern.match(path) for pattern in patterns)


def _expression(pattern: str) -> str:
    """`/a/*` starts at the root, `a/*` anywhere; what lies below a match matches too."""
    expression = "/" if pattern.startswith("/") else "/(?:.*/)?"
    parts = pattern.strip("/").split("/")
    for part in parts[:-1]:
        expression += "(?:[^/]+/)*" if part == "**" else _part_expression(part) + "/"
    last = ".+" if parts[-1] == "**" else _part_expression(parts[-1])
    return rf"{expression}{last}(?:/.*)?\Z"


def _part_expression(part: str) -> str:
    """As the shell's: `*`, `?` and `[a-z]` within one name."""
    out, at = "", 0
    while at < len(part):
        character, at = part[at], at + 1
        end = part.find("]", at + 1)
        if character == "*":
            out += "[^/]*"
        elif character == "?":
            out += "[^/]"
        elif character == "[" and end > 0:
            inside = part[at:end].replace("\\", "\\\\")
            out += f"[^{inside[1:]}]" if inside[0] in "!^" else f"[{inside}]"
            at = end + 1
        else:
            out += re.escape(character)
    return out


def _in_time(node: Node, wanted: Wanted) -> bool:
    return (wanted.oldest_ns is None or node.mtime_ns >= wanted.oldest_ns) and (
        wanted.newest_ns is None or node.mtime_ns <= wanted.newest_ns
    )
