"""Whether a folder lies on this machine, or on a network where locks cannot be relied on (R1)."""

from __future__ import annotations

import re
from pathlib import Path

_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\w*|ceph|glusterfs|lustre|afs|ncpfs|gpfs|beegfs|davfs|"
    r"fuse\.(?!fuse-overlayfs|ext\w|ntfs\w*|lxcfs).*"
)
_ESCAPED = re.compile(r"\\([0-7]{3})")


def network_filesystem(folder: Path, mountinfo: str) -> str | None:
    """The type of network file system that `folder` is on; None for a local one.

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
    return kind if _NETWORK.fullmatch(kind) else None


def read_mountinfo() -> str:
    try:
        return Path("/proc/self/mountinfo").read_text(errors="replace")
    except OSError:
        return ""
