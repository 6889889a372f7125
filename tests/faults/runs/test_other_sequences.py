"""The other half of the random lives of `test_sequences.py`, with seeds of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_model import RunModel, live_often
from run_stack import Stack

FIRST = 501
WANTED_IN_CI = 250


@pytest.mark.timeout(600)
def test_whatever_else_happens_the_rules_of_runs_hold(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    RunModel.stack, RunModel.folder = stack, tmp_path
    lived = live_often(FIRST, wanted=WANTED_IN_CI)
    with capsys.disabled():
        print(f"\nruns: {lived}")
