"""How long one request may still take, and how fast it may go."""

from __future__ import annotations

import threading

from drkit.clock import Clock
from drkit.io_policy import Deadline


class Throttle:
    """At most `bytes_per_s` over all who share it, in bursts of at most a second's worth."""

    def __init__(self, bytes_per_s: float, clock: Clock) -> None:
        self._bytes_per_s = bytes_per_s
        self._clock = clock
        self._lock = threading.Lock()
        self._free_s = clock.elapsed_s() - 1

    def wait(self, size_bytes: int) -> float:
        """Sleeps until `size_bytes` may pass; returns how long that was, in seconds."""
        with self._lock:
            now_s = self._clock.elapsed_s()
            self._free_s = max(self._free_s, now_s - 1) + size_bytes / self._bytes_per_s
            wait_s = self._free_s - now_s
        if wait_s > 0:
            self._clock.sleep(wait_s)
        return max(wait_s, 0.0)


class Allowance:
    """What one request may take: `deadline.total_s`, more as its bytes move, and never past
    `ends_s` on the clock's `elapsed_s`. A silence of half of `total_s` ends it too.

    So a server that crawls below `min_bytes_per_s` is known early, and one that hangs leaves time
    to ask again. Seconds spent waiting for a `Throttle` are not counted.
    """

    def __init__(self, deadline: Deadline, clock: Clock, *, ends_s: float | None = None) -> None:
        self.connect_s = deadline.connect_s
        self._deadline = deadline
        self._clock = clock
        self._began_s = self._heard_s = clock.elapsed_s()
        self._ends_s = float("inf") if ends_s is None else ends_s
        self._moved_bytes = 0

    def left_s(self) -> float:
        """Seconds until it is over if nothing moves; not more than 0 when it is over."""
        now_s = self._clock.elapsed_s()
        return min(
            self._began_s + self._deadline.for_bytes(self._moved_bytes) - now_s,
            self._heard_s + self._deadline.total_s / 2 - now_s,
            self._ends_s - now_s,
        )

    def moved(self, size_bytes: int) -> None:
        self._moved_bytes += size_bytes
        self._heard_s = self._clock.elapsed_s()

    def wait_for(self, throttle: Throttle | None, size_bytes: int) -> None:
        """Waits as `throttle` says, on its account and not on the server's."""
        if throttle is not None and (waited_s := throttle.wait(size_bytes)):
            self._began_s += waited_s
            self._heard_s += waited_s
            self._ends_s += waited_s
