"""Takes away what a run made, however deep it is."""

from __future__ import annotations

import os
from pathlib import Path


def remove_own(place: Path) -> None:
    """Removes a file, a link or a folder with all below it; nothing where there is none. Links are
    removed and never followed. OSError as the system has it; what is left is removed by the next
    call. `shutil.rmtree` calls itself for each level, and a restored tree may be too deep for that.
    """
    if place.is_symlink() or place.is_file():
        place.unlink()
        return
    if not place.exists():
        return
    waiting, folders = [str(place)], []
    while waiting:
        folders.append(waiting.pop())
        with os.scandir(folders[-1]) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    os.unlink(entry.path)  # noqa: PTH108  (there may be a million)
    for folder in reversed(folders):  # each comes after the one that holds it
        os.rmdir(folder)  # noqa: PTH106
