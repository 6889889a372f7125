"""A bounded copy of files that nobody here wrote: links, odd names and modes first.

    python tests/tools/real_tree.py DIR [--each 400]

Takes what anybody may read from what most Linux machines have; a missing place is left out.
"""

from __future__ import annotations

import argparse
import os
import re
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

PLACES = (
    "/usr/share/doc",
    "/etc/alternatives",
    "/etc/ssl/certs",
    "/usr/share/man/man1",
    "/usr/bin",
    sysconfig.get_path("stdlib"),
)
LARGEST_BYTES = 1 << 20
PLAIN_NAME = re.compile(r"[A-Za-z0-9._+-]+")


def plainness(path: Path) -> tuple[bool, str]:
    """Sorts links, odd names and odd modes before what is like everything else."""
    status = path.lstat()
    mode = stat.S_IMODE(status.st_mode)
    odd = path.is_symlink() or mode not in (0o644, 0o755) or not PLAIN_NAME.fullmatch(path.name)
    return not odd, str(path)


def readable(place: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(place):
        for name in names:
            path = Path(folder, name)
            status = path.lstat()
            small_file = stat.S_ISREG(status.st_mode) and status.st_size <= LARGEST_BYTES
            if stat.S_ISLNK(status.st_mode) or (small_file and status.st_mode & stat.S_IROTH):
                yield path


def copy_real_files(into: Path, each: int) -> int:
    """Copies at most `each` files of every place to `into`/<their whole path>; how many."""
    into.mkdir(parents=True, exist_ok=True)
    chosen = [
        path.relative_to("/")
        for place in PLACES
        for path in sorted(readable(Path(place)), key=plainness)[:each]
    ]
    copy = ["cp", "-a", "--parents", "-t", into.absolute(), "--"]
    subprocess.run([*copy, *chosen], cwd="/", check=True)
    return len(chosen)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Copies real files, odd ones first.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--each", type=int, default=400)
    arguments = parser.parse_args(argv)
    count = copy_real_files(arguments.directory, arguments.each)
    print(f"{arguments.directory}: {count} files")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
