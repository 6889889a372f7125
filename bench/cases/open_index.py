"""Opening a repository of 1.1 million blobs in 25 large and 3,000 small index files.

`nothing kept` has no local cache, `maintained` is so after `drkit prune` made few index files of
many; `drkit` is the next command on the same machine. A store that counts tells the requests.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from bench.case import AtMost, Bench, Case, Command, Contender
from bench.places import PROJECT
from bench.tools import restic, run

LARGE, SMALL = 25, 3_000
BLOBS_IN_LARGE, BLOBS_IN_SMALL = 43_400, 5

MAKE = """
import sys
from bench.workloads import make_indexes
make_indexes(*sys.argv[1:])
"""
MAINTAIN = """
import sys
from bench.workloads import maintain_index
maintain_index(*sys.argv[1:])
"""
OPEN = """
import sys
from bench.workloads import open_index
open_index(*sys.argv[1:])
"""


def prepare(bench: Bench) -> list[Contender]:
    store, cache = bench.root / "store", bench.root / "cache"
    large, small = int(LARGE * bench.scale) or 1, int(SMALL * bench.scale)
    sizes = map(str, (large, BLOBS_IN_LARGE, small, BLOBS_IN_SMALL))
    run(_python(MAKE, store, *sizes))
    told = bench.root / "told.json"
    blobs = large * BLOBS_IN_LARGE + small * BLOBS_IN_SMALL
    after = partial(_figures, told, blobs)
    fill = _python(OPEN, store, cache, told)
    run(fill)
    maintained = bench.root / "maintained"
    shutil.copytree(store, maintained)
    run(_python(MAINTAIN, maintained))
    found = [Contender("drkit", (fill,), after=after)]
    for name, place in (("drkit (nothing kept)", store), ("drkit (maintained)", maintained)):
        new = bench.root / "new"
        command = _python(OPEN, place, new, told)
        before = partial(shutil.rmtree, new, True)
        found.append(Contender(name, (command,), before=before, after=after))
    if bench.restic():
        # lists one blob: the cheapest command of restic's that reads the whole index
        command = restic(bench, store / "repository", "--no-lock", "list", "blobs")
        found.append(Contender("restic list blobs", (command,)))
    return found


def _python(code: str, *arguments: str | Path) -> Command:
    return Command((sys.executable, "-c", code, *arguments), {"PYTHONPATH": str(PROJECT)})


def _figures(told: Path, blobs: int) -> Mapping[str, float]:
    found: dict[str, float] = json.loads(told.read_text())
    assert found.pop("blobs") == blobs, f"opened {found}"
    return found


CASE = Case(
    "open_index",
    "open a repository of 1.1 M blobs, 25 large and 3,000 small index files, one folder store",
    prepare,
    bars=(
        AtMost("wall_s", 3),
        AtMost("peak_mb", 300),
        AtMost("wall_s", 3, who="drkit (nothing kept)"),
        AtMost("peak_mb", 300, who="drkit (nothing kept)"),
        AtMost("requests", 40),
        AtMost("requests", 40, who="drkit (maintained)"),
    ),
    needs_bytes=1 << 30,
)
