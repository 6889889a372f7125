"""Where benchmarks write, the peers they run beside, and the versions of all of it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
TOOLS = PROJECT / ".drkit" / "tools"
_MEMORY = Path("/dev/shm")
_SPARE_BYTES = 1 << 30


@contextmanager
def folder(needs_bytes: int) -> Iterator[Path]:
    """An empty folder, in memory when `needs_bytes` fit there; it is removed afterwards."""
    parent = PROJECT / ".drkit" / "bench"
    if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > needs_bytes + _SPARE_BYTES:
        parent = _MEMORY
    root = parent / f"drkit-bench-{os.getpid()}"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    try:
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def find_peers() -> dict[str, Path]:
    """The programs that are compared with, by name: the newest restic, borg, rclone."""
    subprocess.run([sys.executable, PROJECT / ".ci" / "newest_restic.py", TOOLS], check=False)
    # rclone comes into this environment with .[dev]: Debian's is too old to serve S3
    where = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = {
        name: Path(path)
        for name in ("restic", "borg", "rclone")
        if (path := shutil.which(name, path=where))
    }
    for newer in sorted(TOOLS.glob("restic-*/usr/bin/restic")):
        found["restic"] = newer
    return found


def versions(peers: Mapping[str, Path]) -> dict[str, str]:
    """What ran: drkit's commit, the interpreter, the peers, the machine."""
    commit = _said(["git", "-C", str(PROJECT), "describe", "--always", "--dirty"])
    found = {"drkit": commit, "python": platform.python_version()}
    for name, program in peers.items():
        argument = "--version" if name == "borg" else "version"
        found[name] = _said([str(program), argument]).partition("\n")[0]
    return found | {
        "machine": f"{os.cpu_count()} CPUs, {_cpu_name()}, {_memory_gb():.0f} GB",
        "system": platform.platform(),
    }


def _said(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
