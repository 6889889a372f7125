"""Whether a folder lies on this machine, or on a network where locks cannot be relied on (R1)."""

from __future__ import annotations

import re
from pathlib import Path

_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\w*|ceph|glusterfs|lustre|afs|ncpfs|gpfs|beegfs|davfs|"
    r"fuse\.(?!fuse-overlayfs|ext\w|ntfs\w*|lxcfs).*"
)
_ON_A_DISK = frozenset(
    ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "bcachefs", "f2fs", "jfs", "tmpfs", "overlay")
)
_ESCAPED = re.compile(r"\\([0-7]{3})")


def filesystem(folder: Path, mountinfo: str) -> str:
    """The type of the file system that `folder` is on; empty where the table does not say.

    `mountinfo` is the text of /proc/self/mountinfo (proc(5)). Pure, but for links in `folder`.
    """
    resolved = folder.resolve()
    best, kind = -1, ""
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split()
        if not separator or len(fields) < 5 or not after.split():
            continue
        point = Path(_ESCAPED.sub(lambda found: chr(int(found[1], 8)), fields[4]))
        # The last of several mounts on one point is the one that is seen.
        if resolved.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), after.split()[0]
    return kind


def network_filesystem(folder: Path, mountinfo: str) -> str | None:
    """The type of network file system that `folder` is on; None for a local one."""
    kind = filesystem(folder, mountinfo)
    return kind if _NETWORK.fullmatch(kind) else None


def is_on_a_disk(folder: Path, mountinfo: str) -> bool:
    """Whether only this machine's kernel writes to the file system: what was renamed into a folder
    is listed from then on, for every process.
    """
    return filesystem(folder, mountinfo) in _ON_A_DISK


def read_mountinfo() -> str:
    try:
        return Path("/proc/self/mountinfo").read_text(errors="replace")
    except OSError:
        return ""
