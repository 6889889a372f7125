"""The real command at a terminal, and somebody who types."""

from __future__ import annotations

import os
import pty
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def on_a_terminal(words: Sequence[str], answers: Sequence[str], *, cwd: Path) -> tuple[int, str]:
    """Exit status and all that was shown; each answer is typed when a question waits for it."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job ignores Ctrl-C
        os.environ |= {"PYTHONPATH": str(PROJECT), "TERM": "dumb", "COLUMNS": "200"}
        os.execv(sys.executable, [sys.executable, "-m", "drkit", *words])
    shown = ""
    waiting = list(answers)
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part.decode(errors="replace")
        if waiting and re.search(r": $", shown):
            os.write(terminal, f"{waiting.pop(0)}\n".encode())
            shown += "\n"
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown
