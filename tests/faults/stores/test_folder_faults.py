"""A folder store whose writer is killed, whose disk is full, whose files are limited."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from drkit.stores.folder import PARTIAL, FolderStore
from drkit.stores.interface import StoreRefused

WRITER = """
import sys, time
from pathlib import Path
from drkit.stores.folder import FolderStore

def data():
    yield b"x" * 100_000
    print("half", flush=True)
    time.sleep(600)
    yield b"y" * 100_000

FolderStore("disk", Path(sys.argv[1])).put(sys.argv[2], data(), size_bytes=200_000)
"""


def start_writer(root: Path, name: str) -> subprocess.Popen[str]:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root), name], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "half\n"
    return writer


def kill(writer: subprocess.Popen[str]) -> None:
    writer.kill()
    assert writer.wait() == -signal.SIGKILL
    assert writer.stdout is not None
    writer.stdout.close()


def test_a_writer_killed_in_the_middle_leaves_no_object_and_the_old_one_whole(
    tmp_path: Path,
) -> None:
    store = FolderStore("disk", tmp_path)
    store.put("old", b"whole", size_bytes=5)
    for name in ("new/object", "old"):
        kill(start_writer(tmp_path, name))
    assert [(info.name, info.size_bytes) for info in store.list("")] == [("old", 5)]
    assert store.get("old") == b"whole"


def test_what_a_killed_writer_left_is_removed_and_a_living_ones_is_not(tmp_path: Path) -> None:
    killed = start_writer(tmp_path, "a")
    living = start_writer(tmp_path, "b")
    partial = tmp_path / PARTIAL
    assert len(list(partial.iterdir())) == 2
    kill(killed)
    FolderStore("disk", tmp_path).put("c", b"x", size_bytes=1)
    assert len(list(partial.iterdir())) == 1
    kill(living)
    FolderStore("disk", tmp_path).put("d", b"x", size_bytes=1)
    assert list(partial.iterdir()) == []


def test_a_sweeper_never_takes_the_file_of_a_writer_that_is_starting(tmp_path: Path) -> None:
    sweep = (
        "import sys; from pathlib import Path; from drkit.stores.folder import remove_abandoned\n"
        "while True: remove_abandoned(Path(sys.argv[1]))"
    )
    sweeper = subprocess.Popen([sys.executable, "-c", sweep, str(tmp_path / PARTIAL)])
    try:
        store = FolderStore("disk", tmp_path)
        until = time.monotonic() + 2
        count = 0
        while count < 200 or time.monotonic() < until:
            store.put(f"{count % 50}", b"x" * 10, size_bytes=10)
            count += 1
        assert len(list(store.list(""))) == 50
    finally:
        sweeper.kill()
        sweeper.wait()


def test_a_disk_that_takes_no_more_leaves_nothing_and_the_old_object_whole(
    tmp_path: Path,
) -> None:
    store = FolderStore("disk", tmp_path)
    store.put("a", b"old", size_bytes=3)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, before[1]))
    try:
        with pytest.raises(StoreRefused) as caught:
            store.put("a", [b"x" * 50_000] * 4, size_bytes=200_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.hint
    assert store.get("a") == b"old"
    assert list((tmp_path / PARTIAL).iterdir()) == []
