"""What a tree says of one path: an entry as restic writes it, made from what the system tells.

Entries are plain values, as they stand in a tree's JSON. As restic does without `--with-atime`, the
time of access is that of modification, so that reading a file changes no tree.
"""

from __future__ import annotations

import base64
import grp
import os
import pwd
from functools import lru_cache
from typing import Any

from drkit.repository.format.quoting import quote
from drkit.repository.format.tree import format_time, go_mode, parse_time

Entry = dict[str, Any]


def entry_of(
    path: bytes | int,
    name: bytes,
    status: os.stat_result,
    *,
    content: list[str] | None = None,
    subtree: str | None = None,
    size: int | None = None,
) -> Entry:
    """The entry of what is at `path` (or open as that handle). `content`: its blobs in order, in
    hexadecimal. `size`: the bytes that were really read.

    Raises OSError (a link that cannot be read), ValueError for a kind of file that trees lack.
    """
    kind, mode = _kind(status.st_mode)
    mtime = format_time(status.st_mtime_ns)
    entry: Entry = {
        "name": quote(name),
        "type": kind,
        "mode": mode,
        "mtime": mtime,
        "atime": mtime,
        "ctime": format_time(status.st_ctime_ns),
        "uid": status.st_uid,
        "gid": status.st_gid,
    }
    if user := _user(status.st_uid):
        entry["user"] = user
    if group := _group(status.st_gid):
        entry["group"] = group
    entry["inode"] = status.st_ino
    if kind not in ("dir", "fifo"):  # as restic: these have no links to count
        if status.st_nlink > 1:  # elsewhere it would change with each mount, and tell nothing
            entry["device_id"] = status.st_dev
        if kind == "file" and (size or (size is None and status.st_size)):
            entry["size"] = status.st_size if size is None else size
        entry["links"] = status.st_nlink
    if kind == "symlink":
        assert isinstance(path, bytes), "a link is not opened"
        raw = os.readlink(path)  # noqa: PTH115  (bytes: a target need not be text)
        entry["linktarget"] = raw.decode("utf-8", "replace")
        if entry["linktarget"].encode() != raw:
            entry["linktarget_raw"] = base64.b64encode(raw).decode()
    if attributes := _attributes(path):
        entry["extended_attributes"] = attributes
    if kind in ("dev", "chardev"):
        entry["device"] = status.st_rdev
    entry["content"] = content if kind == "file" else None
    if subtree is not None:
        entry["subtree"] = subtree
    return entry


def is_unchanged(
    entry: Entry, status: os.stat_result, *, ignore_inode: bool, ignore_ctime: bool
) -> bool:
    """restic's rule: type, size, times and inode of a file are what `entry` says."""
    return (
        entry["type"] == "file"
        and entry.get("size", 0) == status.st_size
        and _is_time(entry["mtime"], status.st_mtime_ns)
        and (ignore_ctime or _is_time(entry["ctime"], status.st_ctime_ns))
        and (ignore_inode or entry.get("inode", 0) == status.st_ino)
    )


def describes(entry: Entry, status: os.stat_result) -> bool:
    """Whether all that `entry` says beside content is still so. A change of any of it, extended
    attributes included, moves the time of change (ctime).
    """
    kind, mode = _kind(status.st_mode)
    ctime, mtime = entry["ctime"], entry["mtime"]
    uid, gid, mtime_ns = status.st_uid, status.st_gid, status.st_mtime_ns
    if (
        entry["mode"] != mode
        or entry.get("inode") != status.st_ino
        or entry["uid"] != uid
        or entry["gid"] != gid
        or not _is_time(mtime, mtime_ns)
        # a file that was written and left alone has one time for both
        or (
            not (ctime == mtime and status.st_ctime_ns == mtime_ns)
            and not _is_time(ctime, status.st_ctime_ns)
        )
        or entry["atime"] != mtime
        or entry.get("user", "") != _user(uid)
        or entry.get("group", "") != _group(gid)
    ):
        return False
    if kind in ("dir", "fifo"):
        return True
    links = status.st_nlink
    return bool(
        entry.get("links", 0) == links
        and entry.get("device_id", 0) == (status.st_dev if links > 1 else 0)
        and (kind != "file" or entry.get("size", 0) == status.st_size)
    )


def names_of(uid: int, gid: int) -> tuple[str, str]:
    """What this machine calls the user and the group; empty where it has no name."""
    return _user(uid), _group(gid)


def _is_time(text: str, time_ns: int) -> bool:
    # restic writes the zone of its machine; what drkit wrote is equal as text
    return text == format_time(time_ns) or (text[-1] != "Z" and parse_time(text) == time_ns)


def _attributes(path: bytes | int) -> list[Entry]:
    follow = isinstance(path, int)
    found: list[Entry] = []
    try:
        names = os.listxattr(path, follow_symlinks=follow)
    except OSError:  # a file system without them
        return found
    for name in sorted(names):
        try:
            value = os.getxattr(path, name, follow_symlinks=follow)
        except OSError:  # it went away, or is not ours to read
            continue
        found.append({"name": name, "value": base64.b64encode(value).decode()})
    return found


@lru_cache(maxsize=1024)
def _kind(st_mode: int) -> tuple[str, int]:
    return go_mode(st_mode)


@lru_cache(maxsize=1024)
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


@lru_cache(maxsize=1024)
def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""
