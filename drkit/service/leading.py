"""Keeps a daemon's leadership in a thread of its own, and says which jobs are its to run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from drkit.coordination.leadership import LeaderPass, Leadership, Position, Stand

# With no word from the arbiter nobody knows who leads: what only reads or adds goes on (R1).
_EVERYWHERE = frozenset({"probe"})
_UNLED = frozenset({"probe", "backup", "check"})
# An arbiter that hangs holds up neither the start nor the end for longer.
_PATIENCE_S = 10.0


class Leading:
    """While it is entered the lease is renewed. `tell(position)` is called at each change.

    Without a `leadership` (no service is watched) every job is run.
    """

    def __init__(
        self, leadership: Leadership | None, tell: Callable[[Position], None] = lambda _now: None
    ) -> None:
        self._leadership = leadership
        self._tell = tell
        self._position = Position(Stand.CUT_OFF)
        self._told: Stand | None = None
        self._asked = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="leadership", daemon=True)

    def __enter__(self) -> Leading:
        if self._leadership is not None:
            self._thread.start()
            self._asked.wait(_PATIENCE_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._leadership is not None:
            self._ended.set()
            self._thread.join(_PATIENCE_S)
            if not self._thread.is_alive():  # else the lease runs out by itself
                self._leadership.give_up()

    def given(self) -> LeaderPass | None:
        """What a command that is started now may act with; None: nothing."""
        return self._leadership.given() if self._leadership else None

    def leads(self) -> bool:
        """Whether every job is this daemon's to run now."""
        return self._leadership is None or self._leadership.leads()

    def why_not(self, command: str) -> str | None:
        """Why `command` is not this daemon's to run now; None: it is."""
        if self.leads():
            return None
        others = _EVERYWHERE if self._position.stand is Stand.STANDS_BY else _UNLED
        if command in others:
            return None
        return f"this daemon {self._position.stand.value}: {self._position.why}"

    def _keep(self) -> None:
        assert self._leadership is not None
        self._step(self._leadership)
        self._asked.set()
        while not self._ended.wait(self._leadership.pause_s):
            self._step(self._leadership)

    def _step(self, leadership: Leadership) -> None:
        self._position = leadership.step()
        if self._position.stand is not self._told:
            self._told = self._position.stand
            self._tell(self._position)
