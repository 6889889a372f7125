"""Runs the suites of one level, each in its own pytest within its minutes, and says what ran.

`python tests/run_suites.py quick|full|soak`. Exit status 1 if a suite failed, ran over its budget,
ran nothing, or skipped what tests/skips.toml does not list. Ends with pytest's own summary lines,
which are also left in .drkit/tests/<level>.summary.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
import tomllib
from contextlib import suppress
from pathlib import Path

TESTS = Path(__file__).resolve().parent
NOTHING_COLLECTED = 5


def run_suite(suite: str, budget_s: float, level: str) -> tuple[int, str]:
    """Exit status of the suite and its last line."""
    marker = "soak" if level == "soak" else "not soak"
    argv = [sys.executable, "-m", "pytest", f"tests/{suite}", "-q", "-m", marker]
    if level != "soak":
        # Most tests wait for other programs: three at a time keep two cores busy. A file's tests
        # stay together, for the servers that they share.
        argv += ["--declared-skips", "-n", "3", "--dist", "loadfile"]
    process = subprocess.Popen(
        argv, cwd=TESTS.parent, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    killer = subprocess.Popen(
        [sys.executable, "-c", _KILL_AFTER, str(budget_s), str(process.pid)],
        stdin=subprocess.PIPE,
    )
    _awaited.update((process.pid, killer.pid))
    last = ""
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        last = line.strip() or last
    status = process.wait()
    killer.communicate()
    for command in end_what_is_left():
        print(f"left running by {suite}, and ended: {command}", flush=True)
    if status == -signal.SIGKILL:
        last = f"stopped: over its budget of {budget_s / 60:g} min"
    return status, last


def adopt_orphans() -> None:
    """From now on what a suite leaves behind becomes a child of this process (prctl(2))."""
    set_child_subreaper = 36
    ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)
    signal.signal(signal.SIGCHLD, _bury)


_awaited: set[int] = set()
_CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children")


def _bury(_number: int, _frame: object) -> None:
    """Takes leave of adopted children that have ended, as process 1 would."""
    for pid in map(int, _CHILDREN.read_text().split()):
        if pid not in _awaited:
            with suppress(ChildProcessError):  # it may have been waited for already
                os.waitpid(pid, os.WNOHANG)


def end_what_is_left() -> list[str]:
    """Ends every child of this process, and theirs, which become its own; their command lines.

    A suite that is killed cannot stop the servers that its tests started in sessions of their own.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    found = []
    while pids := [int(pid) for pid in _CHILDREN.read_text().split()]:
        for pid in pids:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
            if command:  # one that has ended already has none
                found.append(command.decode(errors="replace").strip())
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    signal.signal(signal.SIGCHLD, _bury)
    return found


# Kills the suite's whole session when the time is up; ends when its own standard input closes.
_KILL_AFTER = """
import os, select, signal, sys
if not select.select([sys.stdin], [], [], float(sys.argv[1]))[0]:
    os.killpg(int(sys.argv[2]), signal.SIGKILL)
"""


def main() -> int:
    level = sys.argv[1] if len(sys.argv) > 1 else "quick"
    adopt_orphans()
    budgets = tomllib.loads((TESTS / "budgets.toml").read_text())[level]
    failed = []
    lines = []
    spare_min = 0.0
    for suite, own_min in budgets.items():
        if not any((TESTS / suite).rglob("test_*.py")):
            continue
        budget_min = round(own_min + spare_min, 1)
        print(f"== tests/{suite} (at most {budget_min} min)", flush=True)
        started = time.monotonic()
        status, last = run_suite(suite, budget_min * 60, level)
        if status == NOTHING_COLLECTED and level == "soak":
            continue
        if status:
            failed.append(suite)
        spent_min = (time.monotonic() - started) / 60
        spare_min = max(0.0, budget_min - spent_min)
        lines.append(f"{suite:12} {spent_min:4.1f} of {budget_min} min  {last}")
    outcome = f"{level}: failed: {', '.join(failed)}" if failed else f"{level}: all suites passed"
    text = "\n".join([*lines, outcome]) + "\n"
    print(f"\n{text}", end="")
    summary = TESTS.parent / ".drkit" / "tests" / f"{level}.summary"
    summary.parent.mkdir(parents=True, exist_ok=True)
    summary.write_text(text)
    return 1 if failed else 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONHASHSEED", "0")
    sys.exit(main())
