"""Snapshots and what they hold, as restic's lines and as values for --json."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drkit.cli.session import Session
    from drkit.repository.check.values import LostFile
    from drkit.repository.repository import ListedSnapshot
    from drkit.repository.trees.walk import Entry

_KINDS = {
    "file": stat.S_IFREG,
    "dir": stat.S_IFDIR,
    "symlink": stat.S_IFLNK,
    "dev": stat.S_IFBLK,
    "chardev": stat.S_IFCHR,
    "fifo": stat.S_IFIFO,
    "socket": stat.S_IFSOCK,
}


def snapshot_values(listed: ListedSnapshot) -> dict[str, Any]:
    """restic's fields of a snapshot, and the stores that hold it."""
    snapshot = listed.snapshot
    return {
        "id": listed.id,
        "short_id": listed.id[:8],
        "time": snapshot.time.isoformat(),
        "hostname": snapshot.hostname,
        "username": snapshot.username,
        "tags": list(snapshot.tags),
        "paths": list(snapshot.paths),
        "tree": snapshot.tree,
        "parent": snapshot.parent,
        "original": snapshot.original,
        "program_version": snapshot.program_version,
        "stores": sorted(listed.stores),
    }


def snapshot_cells(listed: ListedSnapshot) -> dict[str, Any]:
    """The row of a table for people."""
    snapshot = listed.snapshot
    return {
        "id": listed.id[:8],
        "time": f"{snapshot.time:%Y-%m-%d %H:%M:%S}",
        "host": snapshot.hostname,
        "tags": ",".join(snapshot.tags),
        "paths": " ".join(snapshot.paths),
        "stores": ",".join(sorted(listed.stores)),
    }


def tell_lost(session: Session, lost: Iterable[LostFile]) -> None:
    """A line for each file that no store can give."""
    for each in lost:
        values = {"path": each.path, "what": each.what, "snapshots": list(each.snapshots)}
        session.terminal.result("lost", values, f"lost: {each}")


def node_values(entry: Entry) -> dict[str, Any]:
    """restic's fields of `ls --json`; `size` of files only, times in RFC 3339."""
    from drkit.repository.format.tree import format_time

    node = entry.node
    values: dict[str, Any] = {
        "name": entry.path.rpartition("/")[2],
        "type": node.type,
        "path": entry.path,
        "uid": node.uid,
        "gid": node.gid,
        "mode": node.mode,
        "permissions": _permissions(entry),
        "mtime": format_time(node.mtime_ns),
        "atime": format_time(node.atime_ns),
        "ctime": format_time(node.ctime_ns),
    }
    if node.type == "file":
        values["size"] = node.size
    if node.inode:
        values["inode"] = node.inode
    return values


def node_line(entry: Entry, *, long: bool, human: bool = False) -> str:
    # one line a file, whatever its name holds
    path = entry.path.replace("\n", "\\n")
    if not long:
        return path
    from drkit.repository.format.tree import format_time
    from drkit.units import format_bytes

    node = entry.node
    size = format_bytes(node.size) if human else str(node.size)
    time = format_time(node.mtime_ns)[:19].replace("T", " ")
    target = (
        f" -> {node.link_target.decode('utf-8', 'surrogateescape')}" if node.link_target else ""
    )
    return f"{_permissions(entry)} {node.uid:5} {node.gid:5} {size:>10} {time} {path}{target}"


def _permissions(entry: Entry) -> str:
    return stat.filemode(_KINDS.get(entry.node.type, 0) | entry.node.permissions)
