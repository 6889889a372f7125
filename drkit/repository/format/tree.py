"""Trees: one directory each, as restic writes them (repository format, "Trees and Data")."""

from __future__ import annotations

import base64
import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import itemgetter
from typing import Any, Literal

import orjson

from drkit.errors import DamagedData
from drkit.repository.format.quoting import quote, unquote

NodeType = Literal["file", "dir", "symlink", "dev", "chardev", "fifo", "socket", "irregular"]

_TYPES: tuple[tuple[int, NodeType, int], ...] = (
    (stat.S_IFREG, "file", 0),
    (stat.S_IFDIR, "dir", 1 << 31),
    (stat.S_IFLNK, "symlink", 1 << 27),
    (stat.S_IFBLK, "dev", 1 << 26),
    (stat.S_IFCHR, "chardev", 1 << 26 | 1 << 21),
    (stat.S_IFIFO, "fifo", 1 << 25),
    (stat.S_IFSOCK, "socket", 1 << 24),
)
# restic keeps what its system could not name as "irregular"; nothing is made of it at a restore
_NEWLINE = orjson.OPT_APPEND_NEWLINE
_NAMES: frozenset[str] = frozenset(name for _, name, _ in _TYPES) | {"irregular"}
_FLAGS = ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20))
_ANY_FLAG = 1 << 23 | 1 << 22 | 1 << 20


@dataclass(frozen=True, slots=True)
class Node:
    """One entry of a directory. Times are nanoseconds since 1970; `mode` is Go's FileMode."""

    name: bytes
    type: NodeType
    mode: int
    mtime_ns: int
    ctime_ns: int = 0
    atime_ns: int = 0
    uid: int = 0
    gid: int = 0
    user: str = ""
    group: str = ""
    inode: int = 0
    device_id: int = 0
    size: int = 0
    links: int = 0
    link_target: bytes = b""
    device: int = 0
    xattrs: tuple[tuple[str, bytes], ...] = ()
    content: tuple[bytes, ...] = ()
    subtree: str | None = None
    extra: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def permissions(self) -> int:
        """Mode bits as chmod takes them."""
        plain = self.mode & 0o777
        if not self.mode & _ANY_FLAG:
            return plain
        return plain | sum(bit for bit, flag in _FLAGS if self.mode & flag)


def go_mode(st_mode: int) -> tuple[NodeType, int]:
    """The node type and Go FileMode of a POSIX mode. ValueError for a kind of file unknown here."""
    for kind, name, flag in _TYPES:
        if stat.S_IFMT(st_mode) == kind:
            special = sum(go for bit, go in _FLAGS if st_mode & bit)
            return name, (st_mode & 0o777) | flag | special
    raise ValueError(f"unknown kind of file: mode {st_mode:o}")


def encode_tree(nodes: list[Node]) -> bytes:
    """The plaintext of a tree blob; nodes are put into the order of their names' bytes."""
    return encode_entries([(node.name, _encode(node)) for node in nodes])


def encode_entries(entries: list[tuple[bytes, dict[str, Any]]]) -> bytes:
    """As `encode_tree`, of entries that are JSON values already, each with its name's bytes."""
    ordered = sorted(entries, key=itemgetter(0))
    return orjson.dumps({"nodes": [entry for _, entry in ordered]}, option=_NEWLINE)


def decode_node(entry: dict[str, Any]) -> Node:
    """The node of one entry that drkit made."""
    return _decode(entry)


def decode_tree(content: bytes) -> tuple[Node, ...]:
    """The nodes of a tree blob. A name that could leave its directory is refused."""
    try:
        nodes = tuple(_decode(entry) for entry in orjson.loads(content)["nodes"])
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedData(
            f"a directory cannot be read: {error}", hint="drkit check --read-data"
        ) from None
    if len({node.name for node in nodes}) != len(nodes):
        raise DamagedData(
            "a directory holds one name twice",
            hint="the repository was tampered with; restore from another store",
        )
    for node in nodes:
        if node.name in (b"", b".", b"..") or b"/" in node.name or b"\0" in node.name:
            raise DamagedData(
                f"a directory holds the hostile name {node.name!r}",
                hint="the repository was tampered with; restore from another store",
            )
    return nodes


def _encode(node: Node) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": quote(node.name),
        "type": node.type,
        "mode": node.mode,
        "mtime": format_time(node.mtime_ns),
        "atime": format_time(node.atime_ns),
        "ctime": format_time(node.ctime_ns),
        "uid": node.uid,
        "gid": node.gid,
    }
    optional: tuple[tuple[str, Any], ...] = (
        ("user", node.user),
        ("group", node.group),
        ("inode", node.inode),
        ("device_id", node.device_id),
        ("size", node.size),
        ("links", node.links),
    )
    entry.update((key, value) for key, value in optional if value)
    if node.type == "symlink":
        entry["linktarget"] = node.link_target.decode("utf-8", "replace")
        if entry["linktarget"].encode() != node.link_target:
            entry["linktarget_raw"] = base64.b64encode(node.link_target).decode()
    if node.xattrs:
        entry["extended_attributes"] = [
            {"name": name, "value": base64.b64encode(value).decode()} for name, value in node.xattrs
        ]
    if node.device:
        entry["device"] = node.device
    entry["content"] = [blob.hex() for blob in node.content] if node.type == "file" else None
    if node.subtree:
        entry["subtree"] = node.subtree
    entry.update(node.extra)
    return entry


# What a tree of another restic may hold beside these (generic_attributes, error) stays in `extra`.
_FIELDS = frozenset(
    (
        *("name", "type", "mode", "mtime", "atime", "ctime", "uid", "gid", "user", "group"),
        *("inode", "device_id", "size", "links", "linktarget", "linktarget_raw", "device"),
        *("extended_attributes", "content", "subtree"),
    )
)


def _decode(entry: dict[str, Any]) -> Node:
    if entry["type"] not in _NAMES:
        raise ValueError(f"unknown kind of node {entry['type']!r}")
    raw_target = entry.get("linktarget_raw")
    target = base64.b64decode(raw_target) if raw_target else entry.get("linktarget", "").encode()
    mtime, atime = entry["mtime"], entry.get("atime")
    mtime_ns = parse_time(mtime)
    return Node(
        name=unquote(entry["name"]),
        type=entry["type"],
        mode=entry.get("mode", 0),
        mtime_ns=mtime_ns,
        atime_ns=parse_time(atime) if atime and atime != mtime else mtime_ns,
        ctime_ns=parse_time(entry.get("ctime", entry["mtime"])),
        uid=entry.get("uid", 0),
        gid=entry.get("gid", 0),
        user=entry.get("user", ""),
        group=entry.get("group", ""),
        inode=entry.get("inode", 0),
        device_id=entry.get("device_id", 0),
        size=entry.get("size", 0),
        links=entry.get("links", 0),
        link_target=target,
        device=entry.get("device", 0),
        xattrs=tuple(
            (attribute["name"], base64.b64decode(attribute.get("value") or ""))
            for attribute in attributes
        )
        if (attributes := entry.get("extended_attributes"))
        else (),
        content=tuple(map(bytes.fromhex, entry.get("content") or ())),
        subtree=entry.get("subtree"),
        extra={}
        if entry.keys() <= _FIELDS
        else {key: entry[key] for key in entry.keys() - _FIELDS},
    )


MOST_LEVELS = 4096
"""No system names a path of more folders (PATH_MAX): what goes deeper was made to do harm."""


def too_deep(path: str) -> DamagedData:
    """The error for the folder at `path`, which is not entered."""
    return DamagedData(
        f"{path[:40]}...: a folder more than {MOST_LEVELS} levels deep",
        hint="the repository was tampered with; restore from another store",
    )


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def format_time(time_ns: int) -> str:
    """RFC 3339 in UTC with as many digits of the second as it has."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    whole = _format_second(seconds)
    if not nanoseconds or len(whole) != 19:
        return whole if whole[-1] == "Z" else whole + "Z"
    return f"{whole}.{nanoseconds:09d}".rstrip("0") + "Z"


@lru_cache(maxsize=65536)
def _format_second(seconds: int) -> str:
    """Without a zone; with one, the end of time, for a year that no clock shows."""
    try:
        whole = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    except OverflowError:  # what is stored stays readable
        return "9999-12-31T23:59:59Z" if seconds > 0 else "0001-01-01T00:00:00Z"
    return whole.rjust(19, "0")


def parse_time(text: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 time with any zone and up to nine digits."""
    seconds_text, zone = (text[:-1], "+00:00") if text.endswith("Z") else (text[:-6], text[-6:])
    whole, _, fraction = seconds_text.partition(".")
    return _parse_second(whole, zone) + int(fraction.ljust(9, "0") or 0)


@lru_cache(maxsize=65536)
def _parse_second(whole: str, zone: str) -> int:
    """Nanoseconds since 1970; the files of a folder often share a second."""
    if whole.startswith("0000"):  # Go has a year 0: a leap year, as is the year 4
        moment = datetime.fromisoformat("0004" + whole[4:] + zone) - _EPOCH - timedelta(1461)
    else:
        moment = datetime.fromisoformat(whole + zone) - _EPOCH
    return (moment.days * 86400 + moment.seconds) * 1_000_000_000
