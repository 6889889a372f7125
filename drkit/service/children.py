"""One job as a child process with a deadline: a thread cannot be killed, a process can."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from drkit.clock import Clock

GRACE_S = 20.0
"""How long a child may tidy up after SIGTERM before it is killed."""

_POLL_S = 0.125


class Child(Protocol):
    """A running process and everything it started in its session."""

    def poll(self) -> int | None:
        """Its exit status (negative: the signal that ended it); None while it runs."""
        ...

    def send(self, number: signal.Signals) -> None:
        """To the whole session; nothing if it has ended."""
        ...


class End(Enum):
    BY_ITSELF = "by itself"
    DEADLINE = "stopped at its deadline"
    STOPPED = "stopped with the daemon"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended, and after how long."""

    how: End
    status: int
    spent_s: float


def supervise(
    child: Child,
    *,
    deadline_s: float,
    stopping: Callable[[], bool],
    clock: Clock,
    grace_s: float = GRACE_S,
) -> Ended:
    """Waits for `child`; SIGTERM at its deadline or when `stopping`, SIGKILL `grace_s` later."""
    began_s = clock.elapsed_s()
    asked_s: float | None = None
    killed = False
    how = End.BY_ITSELF
    while (status := child.poll()) is None:
        now_s = clock.elapsed_s()
        if asked_s is None and (stopping() or now_s - began_s >= deadline_s):
            how = End.STOPPED if stopping() else End.DEADLINE
            asked_s = now_s
            child.send(signal.SIGTERM)
        elif asked_s is not None and not killed and now_s - asked_s >= grace_s:
            killed = True
            child.send(signal.SIGKILL)
        clock.sleep(_POLL_S)
    return Ended(how, status, clock.elapsed_s() - began_s)


class ProcessChild:
    """A command in a session of its own; what it prints is kept in `log`, the last time only."""

    def __init__(
        self, argv: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """`environment` comes on top of this process's own."""
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    def poll(self) -> int | None:
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return
