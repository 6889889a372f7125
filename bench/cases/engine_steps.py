"""What the engine costs a step: 40 steps that do nothing, one after the other, on a real disk.

Once steps that only read, once steps that are paid: with the lease proved, the intent sealed into
a store, and a look at what is there before each. A memory-backed place would hide what is synced.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from bench.case import AtMost, Bench, Case, Command, Contender
from bench.places import PROJECT

STEPS = 40
BAR_S = 0.05
START_S = 1.0
"""Of the interpreter, its imports, and the state's first opening."""


def prepare(bench: Bench) -> list[Contender]:
    return [_contender("drkit", "paid"), _contender("drkit, steps that read", "read")]


def _contender(name: str, effect: str) -> Contender:
    root = PROJECT / ".drkit" / f"bench-engine-{effect}"
    answer = root / "ms"
    argv = (sys.executable, "-m", "bench.engine_steps", root, effect, str(STEPS), answer)
    return Contender(
        name,
        (Command(argv, cwd=PROJECT),),
        before=partial(_renew, root),
        after=_figures(root, answer),
    )


def _renew(root: Path) -> None:
    shutil.rmtree(root, True)
    root.mkdir(parents=True)


def _figures(root: Path, answer: Path) -> Callable[[], Mapping[str, float]]:
    def read() -> Mapping[str, float]:
        ms = float(answer.read_text())
        shutil.rmtree(root)
        return {"ms_per_step": round(ms, 1)}

    return read


CASE = Case(
    "engine_steps",
    f"{STEPS} steps of a run that do nothing, on a real disk",
    prepare,
    bars=(AtMost("wall_s", STEPS * BAR_S + START_S),),
)
