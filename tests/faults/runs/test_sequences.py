"""Whatever happens in whatever order, the rules of runs hold: half of the random lives, and all of
`make soak`; `test_other_sequences.py`, beside it in another process, has the other half. Seeded.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from random_lives import go_on
from run_model import RunModel, live_often, live_round
from run_stack import Stack

WANTED_IN_CI = 250
SECONDS_IN_SOAK = 1800.0
WANTED_IN_SOAK = 20_000
MEMORY = Path(__file__).parents[3] / ".drkit" / "tests" / "run-sequences.json"


@pytest.mark.timeout(600)
def test_whatever_happens_the_rules_of_runs_hold(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    RunModel.stack, RunModel.folder = stack, tmp_path
    lived = live_often(1, wanted=WANTED_IN_CI)
    with capsys.disabled():
        print(f"\nruns: {lived}")


@pytest.mark.soak
@pytest.mark.timeout(SECONDS_IN_SOAK * 2)
def test_twenty_thousand_sequences(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    RunModel.stack, RunModel.folder = stack, tmp_path

    def lived(number: int) -> int:
        return live_round(number, lives=100)

    in_all = go_on(MEMORY, lived, wanted=WANTED_IN_SOAK, within_s=SECONDS_IN_SOAK)
    with capsys.disabled():
        print(f"\nruns: {in_all}")
