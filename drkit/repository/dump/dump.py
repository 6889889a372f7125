"""One file of a snapshot as bytes, or a folder as an archive, in one stream."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from typing import IO, Literal

from drkit.errors import ConfigError, GuardRefused
from drkit.repository.dump.content import contents
from drkit.repository.repository import Repository
from drkit.repository.trees.walk import entries, find_entry

Archive = Literal["tar", "zip"]


def dump(
    repository: Repository,
    tree_id: str,
    path: str,
    out: IO[bytes],
    archive: Archive = "tar",
    *,
    left_out: Callable[[str], bool] = lambda path: False,
) -> None:
    """Writes what lies at `path` below the tree: a file as it was, a folder as `archive`, less what
    is `left_out`, which is asked from the top down for paths in the tree.

    Raises ConfigError for what is neither, `GuardRefused` for what is left out itself,
    `DamagedData` when a part of it is lost everywhere: what was written by then is no whole copy.
    """
    entry = find_entry(repository, tree_id, path)
    if any(left_out(at) for at in _with_parents(entry.path)):
        raise GuardRefused(f"{entry.path} was erased", hint="drkit erase says when, and from where")
    if entry.node.type == "file":
        for content in contents(repository, entry.node):
            out.write(content)
        return
    if entry.node.subtree is None:
        raise ConfigError(
            f"{entry.path} is a {entry.node.type}", hint="dump gives files and folders"
        )
    found = entries(
        repository, entry.node.subtree, entry.path, enter=lambda one: not left_out(one.path)
    )
    below = (one for one in found if not left_out(one.path))
    if archive == "zip":
        from drkit.repository.dump.zip import write_zip

        write_zip(repository, below, out)
    else:
        from drkit.repository.dump.tar import write_tar

        write_tar(repository, below, out)


def _with_parents(path: str) -> Iterator[str]:
    while path != "/":
        yield path
        path = posixpath.dirname(path)
