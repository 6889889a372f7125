"""A backup of 200 MiB into three stores, each behind 50 ms and 100 Mbit/s, one of which hangs.

The lines are made inside the measured process: what is measured is how long drkit waits, not a
network. The store hangs in the middle, after a fifth of the bytes, so that it was sound at first.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.case import AtMost, Bench, Case, Command, Contender
from bench.data import write_noise
from bench.places import PROJECT
from bench.tools import deployment

CODE = """
import os, sys
from bench.backups import back_up_from_afar
back_up_from_afar(*sys.argv[1:])
os._exit(0)  # as the threads of the hung store still wait
"""


def prepare(bench: Bench) -> list[Contender]:
    source = bench.root / "source"
    source.mkdir()
    size_bytes = int((200 << 20) * bench.scale)
    write_noise(source / "noise.bin", size_bytes, seed=1)
    return [
        _contender(bench, source, "drkit", str(size_bytes // 5)),
        _contender(bench, source, "drkit, all healthy", ""),
    ]


def _contender(bench: Bench, source: Path, name: str, hangs_after_bytes: str) -> Contender:
    root = bench.root / f"stores-{hangs_after_bytes or 'healthy'}"
    command = Command(
        (sys.executable, "-c", CODE, root, source, hangs_after_bytes), {"PYTHONPATH": str(PROJECT)}
    )
    return Contender(name, (command,), before=_renewed(root, source))


def _renewed(root: Path, source: Path) -> Callable[[], None]:
    def renew(root: Path, source: Path) -> None:
        shutil.rmtree(root, True)
        deployment(root, {"tree": source}, stores=("gcs", "s3", "b2"))

    return partial(renew, root, source)


CASE = Case(
    "backup_hung_store",
    "backup of 200 MiB, three stores of 50 ms and 100 Mbit/s, one hung",
    prepare,
    bars=(AtMost("wall_s", 1.3, of="drkit, all healthy"), AtMost("peak_mb", 400)),
    needs_bytes=2 << 30,
)
