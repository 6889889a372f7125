"""Random lives of a hypothesis state machine: rounds of them, in CI as in soak."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import RuleBasedStateMachine
from hypothesis.stateful import run_state_machine_as_test as run_machine


def live(model: type[RuleBasedStateMachine], number: int, *, lives: int, steps: int) -> None:
    """The lives of round `number`, up to `steps` steps each. One that fails is told as it was
    lived: nothing is shrunk, so that a round takes its time and no more.
    """
    seed(number)(model)
    run_machine(
        model,
        settings=settings(
            max_examples=lives,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=False,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate,),
            report_multiple_bugs=False,
        ),
    )


def go_on(memory: Path, live_round: Callable[[int], int], *, wanted: int, within_s: float) -> str:
    """Goes on where the last soak ended, with other seeds, until the count adds up to `wanted` or
    the time is over; what was lived in all. `live_round(number)` answers how many lives it was.
    """
    known = json.loads(memory.read_text()) if memory.exists() else {"sequences": 0, "rounds": 0}
    ends_at = time.monotonic() + within_s
    while known["sequences"] < wanted and time.monotonic() < ends_at:
        known["rounds"] += 1
        known["sequences"] += live_round(1000 + known["rounds"])
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps(known))
    return f"{known['sequences']} sequences in {known['rounds']} rounds in all"
