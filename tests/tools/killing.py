"""Work in forks that die by kill -9 at a given moment: the process that forks, and who asks it.

Each line of the process's standard input is an order, JSON; the answer to it is what the work gave
back, 0 when it died, and a text when it failed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TOOLS = Path(__file__).parent
PROJECT = TOOLS.parents[1]
Ask = Callable[[Mapping[str, Any]], "int | str"]


def work_in_forks(work: Callable[[dict[str, Any]], int | str]) -> None:
    """Answers orders until there are no more; each is `work` of a fork."""
    for line in sys.stdin:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            try:
                said = work(json.loads(line))
            except BaseException:
                said = traceback.format_exc()[-8000:]
            os.write(writer, json.dumps(said).encode())
            os._exit(0)
        os.close(writer)
        answer = os.read(reader, 1 << 16).decode()
        os.close(reader)
        _, status = os.waitpid(child, 0)
        died = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print(answer or (0 if died else f'"it ended with {status}"'), flush=True)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def asked(script: str) -> Iterator[Ask]:
    """What asks a process of that script of this folder, which works in forks."""
    with subprocess.Popen(
        [sys.executable, str(TOOLS / script)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        orders, answers = process.stdin, process.stdout

        def ask(order: Mapping[str, Any]) -> int | str:
            assert answers is not None
            orders.write(json.dumps(order) + "\n")
            orders.flush()
            said: int | str = json.loads(answers.readline())
            return said

        yield ask
        orders.close()


class Killer:
    """Asks `store_killer` for works of `killed_works`, and ends them at a given call."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

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
        order = {
            "root": str(root),
            "source": str(source),
            "work": work,
            "ids": list(ids),
            "days": days,
            "moment": moment,
            "power_cut": power_cut,
        }
        ended = self._ask(order)
        assert isinstance(ended, int), f"{work}, to die at its call {moment}: {ended}"
        return ended
