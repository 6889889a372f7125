"""A restore of 200 MiB from three stores, each behind 50 ms and 100 Mbit/s, one of which hangs.

The lines are made inside the measured process: what is measured is how drkit shares the work, not a
network. The store that hangs is the first in the order of reading, which is the worst one.
"""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path

from bench.case import AtMost, Bench, Case, Command, Contender
from bench.data import same_tree, write_noise
from bench.places import PROJECT
from bench.tools import deployment, drkit, run

CODE = """
import sys
from bench.workloads import restore_from_afar
restore_from_afar(*sys.argv[1:])
"""


def prepare(bench: Bench) -> list[Contender]:
    source = bench.root / "source"
    source.mkdir()
    for number in range(4):
        write_noise(source / f"{number}.bin", int((50 << 20) * bench.scale), seed=number)
    config = deployment(bench.root / "drkit", {"tree": source}, stores=("gcs", "s3", "b2"))
    run(drkit(config, "backup"))
    return [
        _contender(bench, source, "drkit", "gcs"),
        _contender(bench, source, "drkit, all healthy", ""),
    ]


def _contender(bench: Bench, source: Path, name: str, hung: str) -> Contender:
    out = bench.root / f"out-{hung or 'healthy'}"
    command = Command(
        (sys.executable, "-c", CODE, bench.root / "drkit", out, hung),
        {"PYTHONPATH": str(PROJECT)},
    )
    return Contender(
        name,
        (command,),
        before=partial(shutil.rmtree, out, True),
        after=partial(same_tree, source, out),
    )


CASE = Case(
    "restore_hung_store",
    "restore of 200 MiB, three stores of 50 ms and 100 Mbit/s, one hung",
    prepare,
    bars=(AtMost("wall_s", 1.7, of="drkit, all healthy"), AtMost("peak_mb", 400)),
    needs_bytes=2 << 30,
)
