"""The process that kills work on stores (`store_killer`), as tests ask it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

KILLER = Path(__file__).with_name("store_killer.py")


class Killer:
    """Runs works of `killed_works` in forks, and ends them at a given call."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(
        self,
        root: Path,
        source: Path,
        work: str,
        moment: int,
        *,
        power_cut: bool = False,
        days: int = 0,
        ids: Sequence[str] = (),
    ) -> int:
        """How many calls the work made that change a store; 0: it died before its `moment`-th.
        Moment 0 never comes. The test fails when the work ended in another way.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {
            "root": str(root),
            "source": str(source),
            "work": work,
            "ids": list(ids),
            "days": days,
            "moment": moment,
            "power_cut": power_cut,
        }
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        ended = json.loads(self._process.stdout.readline())
        assert isinstance(ended, int), f"{work}, to die at its call {moment}: {ended}"
        return ended


@contextmanager
def running_killer() -> Iterator[Killer]:
    with subprocess.Popen(
        [sys.executable, str(KILLER)],
        cwd=KILLER.parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Killer(process)
        assert process.stdin is not None
        process.stdin.close()
