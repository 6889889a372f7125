"""Walking what a snapshot holds, a folder at a time: memory does not grow with the snapshot."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from drkit.errors import ConfigError, DamagedData
from drkit.repository.repository import Repository
from drkit.repository.snapshot import Snapshot
from drkit.repository.tree import Node

OnDamage = Callable[[str, DamagedData], None]
ROOT = Node(name=b"", type="dir", mode=0o755 | 1 << 31, mtime_ns=0)


@dataclass(frozen=True, slots=True)
class Entry:
    """A node and its path in the snapshot ("/sncp/a"; bytes that are no UTF-8 as surrogates)."""

    path: str
    node: Node


def find_entry(repository: Repository, snapshot: Snapshot, path: str) -> Entry:
    """What lies at `path`; "/" is a folder without metadata. ConfigError when there is nothing."""
    clean = posixpath.normpath("/" + path.strip("/"))
    node = replace(ROOT, subtree=snapshot.tree)
    at = "/"
    for part in clean.strip("/").split("/") if clean != "/" else ():
        nodes = repository.load_tree(node.subtree) if node.subtree else ()
        wanted = os.fsencode(part)
        found = next((entry for entry in nodes if entry.name == wanted), None)
        if found is None:
            raise ConfigError(
                f"the snapshot has no {part!r} in {at}", hint="drkit ls shows what it holds"
            )
        node, at = found, posixpath.join(at, part)
    return Entry(clean, node)


def find_folder(repository: Repository, snapshot: Snapshot, path: str) -> str:
    """The id of the tree at `path`. ConfigError when it is no folder."""
    entry = find_entry(repository, snapshot, path)
    if entry.node.subtree is None:
        raise ConfigError(f"{entry.path} is no folder", hint="name a folder, or what holds it")
    return entry.node.subtree


def entries(
    repository: Repository,
    tree_id: str,
    at: str = "/",
    *,
    on_damage: OnDamage | None = None,
    enter: Callable[[Entry], bool] | None = None,
) -> Iterator[Entry]:
    """Everything below the tree that lies at `at`, folders before what they hold, by name.

    `enter` may leave folders unread. A tree that is lost raises `DamagedData`; with `on_damage`
    it is told there, and the walk goes on.
    """
    try:
        nodes = repository.load_tree(tree_id)
    except DamagedData as error:
        if on_damage is None:
            raise DamagedData(f"{at}: {error.message}", hint=error.hint) from None
        on_damage(at, error)
        return
    for node in nodes:
        entry = Entry(posixpath.join(at, os.fsdecode(node.name)), node)
        yield entry
        if node.type == "dir" and node.subtree and (enter is None or enter(entry)):
            yield from entries(
                repository, node.subtree, entry.path, on_damage=on_damage, enter=enter
            )
