"""A suite that is killed leaves no server behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
SCRIPT = """
import subprocess, sys
sys.path.insert(0, sys.argv[1])
from run_suites import adopt_orphans, end_what_is_left
adopt_orphans()
# A server in a session of its own, with a child; whoever started it is gone.
subprocess.run(["sh", "-c", "setsid sh -c 'sleep 301 & exec sleep 300' & sleep 0.2"])
print(sorted(end_what_is_left()))
print(end_what_is_left())
"""


def test_what_a_suite_left_running_is_ended_with_all_that_it_started() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, TESTS], capture_output=True, text=True, timeout=30
    )
    assert done.stdout.splitlines() == ["['sleep 300', 'sleep 301']", "[]"], done.stderr
