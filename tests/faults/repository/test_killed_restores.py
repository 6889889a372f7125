"""kill -9 in a restore, and pages that were never written: the next restore finishes the tree."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from drkit.clock import SystemClock
from drkit.repository.restore import place as restore_place
from drkit.stores.folder import FolderStore

TOOLS = Path(__file__).parents[2] / "tools" / "repository_kit.py"

RESTORER = """
import importlib.util, os, signal, sys
from pathlib import Path

spec = importlib.util.spec_from_file_location("repository_kit", sys.argv[1])
kit = importlib.util.module_from_spec(spec)
sys.modules["repository_kit"] = kit
spec.loader.exec_module(kit)

from drkit.clock import SystemClock
from drkit.repository.restore import files, restore, writing
from drkit.stores.folder import FolderStore

store, out, call, nth = Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], int(sys.argv[5])
restore._WINDOW_FILES = 4
left = [nth]
places = [module for module in (restore, writing, files) if hasattr(module, call)]
real = getattr(places[0], call)

def doomed(*arguments, **options):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)

for module in places:
    setattr(module, call, doomed)
kit.Kit([FolderStore("gcs", store)], SystemClock()).restore(out)
print("survived")
"""

WITH_WORKERS = """
import os, signal, sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
import repository_kit as kit

from drkit.clock import SystemClock
from drkit.repository.restore.crew import Crew
from drkit.repository.restore.restore import RestoreOptions, restore_tree
from drkit.stores.folder import FolderStore

take, left = Crew._take, [2]

def doomed(crew):
    with crew._changed:
        assert crew._changed.wait_for(lambda: crew._at_work or crew._free, 60)
    left[0] -= 1
    if left[0] == 0:
        print(*(worker._process.pid for worker in crew._started), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return take(crew)

Crew._take = doomed
alone = kit.Kit([FolderStore("gcs", Path(sys.argv[2]))], SystemClock())
repository = alone.open()
node = repository.find_node(alone.latest(repository).snapshot, "/sncp")
restore_tree(repository, node, Path(sys.argv[3]), alone.emit, RestoreOptions(workers=2))
"""

MOMENTS = [
    ("claim_place", 1),
    ("plan_ranges", 1),
    ("plan_ranges", 3),
    ("write_piece", 1),
    ("write_piece", 7),
    ("write_whole", 3),
    ("make_file", 2),
    ("finish_file", 2),
    ("finish_file", 3),
    ("set_metadata", 1),
    ("set_metadata", 3),
    ("release_place", 1),
]


@pytest.fixture(scope="module")
def prepared(kit: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("prepared")
    source = kit.make_odd_tree(root / "source")
    kit.Kit([FolderStore("gcs", root / "gcs")], SystemClock()).init().backup(source)
    return root


def killed(prepared: Path, out: Path, call: str, nth: int) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            RESTORER,
            str(TOOLS),
            str(prepared / "gcs"),
            str(out),
            call,
            str(nth),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == -9, done.stdout + done.stderr


def again(kit: ModuleType, prepared: Path, out: Path) -> None:
    kit.Kit([FolderStore("gcs", prepared / "gcs")], SystemClock()).restore(out)
    assert kit.listing(out) == kit.listing(prepared / "source")


@pytest.mark.parametrize(("call", "nth"), MOMENTS)
def test_a_killed_restore_goes_on(
    kit: ModuleType, prepared: Path, tmp_path: Path, call: str, nth: int
) -> None:
    killed(prepared, tmp_path / "out", call, nth)
    again(kit, prepared, tmp_path / "out")


def test_workers_end_with_the_restore_that_is_killed(
    kit: ModuleType, prepared: Path, tmp_path: Path
) -> None:
    arguments = [str(TOOLS.parent), str(prepared / "gcs"), str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", WITH_WORKERS, *arguments], capture_output=True, text=True
    )
    assert done.returncode == -9, done.stdout + done.stderr
    workers = [Path("/proc", number) for number in done.stdout.split()]
    assert workers
    until_s = time.monotonic() + 30
    while any(is_running(worker) for worker in workers):
        assert time.monotonic() < until_s, "a worker outlived who asks it"
        time.sleep(0.02)
    again(kit, prepared, tmp_path / "out")


def is_running(process: Path) -> bool:
    try:
        return "drkit.repository.restore.worker" in (process / "cmdline").read_text()
    except OSError:
        return False


def test_bytes_that_never_reached_the_disk_are_written_again(
    kit: ModuleType, prepared: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    killed(prepared, out, "release_place", 1)
    # after a power cut: lengths and times of the journal, blocks that hold zeros, or are not there
    for number, name in enumerate(("large.bin", "notes/001.md", "notes/deep/noise.bin")):
        status = (out / name).stat()
        with (out / name).open("r+b") as file:
            file.truncate(status.st_size // 2 if number else 0)
            file.truncate(status.st_size)
        os.utime(out / name, ns=(status.st_atime_ns, status.st_mtime_ns))
    (out / "empty").unlink()
    again(kit, prepared, out)


def test_a_restore_killed_again_and_again_comes_to_its_end(
    kit: ModuleType, prepared: Path, tmp_path: Path
) -> None:
    for nth in (2, 4, 6):
        killed(prepared, tmp_path / "out", "write_piece", nth)
    again(kit, prepared, tmp_path / "out")


def test_R7_what_a_killed_restore_left_says_so_by_its_name(prepared: Path, tmp_path: Path) -> None:
    killed(prepared, tmp_path / "out", "write_piece", 2)
    markers = [name for name in os.listdir(tmp_path / "out") if name.startswith(".drkit")]
    assert len(markers) == 1
    assert markers[0].startswith(restore_place._MARKER)
