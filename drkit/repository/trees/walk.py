"""Walking what a snapshot holds, a folder at a time: memory does not grow with the snapshot."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from drkit.errors import ConfigError, DamagedData
from drkit.events import Emit, Note
from drkit.repository.format.tree import MOST_LEVELS, Node, too_deep
from drkit.repository.repository import Repository

OnDamage = Callable[[str, DamagedData], None]
ROOT = Node(name=b"", type="dir", mode=0o755 | 1 << 31, mtime_ns=0)


@dataclass(frozen=True, slots=True)
class Entry:
    """A node and its path in the snapshot ("/sncp/a"; bytes that are no UTF-8 as surrogates)."""

    path: str
    node: Node


class Damages:
    """Tells of each folder that cannot be read, once, and lets the walk go on."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self.paths: dict[str, str] = {}

    def __call__(self, path: str, error: DamagedData) -> None:
        if path not in self.paths:
            self.paths[path] = error.message
            self._emit(Note("error", path, error.message))


def find_entry(repository: Repository, tree_id: str, path: str) -> Entry:
    """What lies at `path` below the tree; "/" is the tree itself, a folder without metadata.

    Raises ConfigError when there is nothing.
    """
    clean = posixpath.normpath("/" + path.strip("/"))
    node = replace(ROOT, subtree=tree_id)
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


def find_folder(repository: Repository, tree_id: str, path: str) -> str:
    """The id of the tree at `path` below another. ConfigError when it is no folder."""
    entry = find_entry(repository, tree_id, path)
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
    waiting = [iter(_children(repository, tree_id, at, on_damage))]
    while waiting:
        entry = next(waiting[-1], None)
        if entry is None:
            waiting.pop()
            continue
        yield entry
        below = entry.node.subtree if entry.node.type == "dir" else None
        if below and (enter is None or enter(entry)):
            if len(waiting) >= MOST_LEVELS:
                if on_damage is None:
                    raise too_deep(entry.path)
                on_damage(entry.path, too_deep(entry.path))
                continue
            waiting.append(iter(_children(repository, below, entry.path, on_damage)))


def listing(
    repository: Repository, tree_id: str, path: str, *, recursive: bool, on_damage: OnDamage
) -> Iterator[Entry]:
    """What lies at `path` and what it holds; `recursive`: and what that holds."""
    top = find_entry(repository, tree_id, path)
    if top.path != "/":
        yield top
    if top.node.subtree:
        yield from entries(
            repository,
            top.node.subtree,
            top.path,
            on_damage=on_damage,
            enter=lambda _entry: recursive,
        )


def _children(
    repository: Repository, tree_id: str, at: str, on_damage: OnDamage | None
) -> list[Entry]:
    try:
        nodes = repository.load_tree(tree_id)
    except DamagedData as error:
        if on_damage is None:
            raise DamagedData(f"{at}: {error.message}", hint=error.hint) from None
        on_damage(at, error)
        return []
    return [Entry(posixpath.join(at, os.fsdecode(node.name)), node) for node in nodes]
