"""Deadlines, retries and minimum rates of everything that leaves the process, in one place."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from drkit.clock import Clock

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Deadline:
    """Connect and total limits of one request; a body also has `min_bytes_per_s`."""

    connect_s: float
    total_s: float
    min_bytes_per_s: int = 0

    def for_bytes(self, size_bytes: int) -> float:
        """Total seconds allowed for a request that moves `size_bytes`."""
        if not self.min_bytes_per_s:
            return self.total_s
        return self.total_s + size_bytes / self.min_bytes_per_s


@dataclass(frozen=True, slots=True)
class Retry:
    """`tries` in all, with full jitter between `first_s` and `most_s`."""

    tries: int
    first_s: float
    most_s: float

    def pauses_s(self, rng: random.Random) -> Iterator[float]:
        limit_s = self.first_s
        for _ in range(self.tries - 1):
            yield rng.uniform(0, limit_s)
            limit_s = min(limit_s * 2, self.most_s)


STORE_REQUEST = Deadline(connect_s=5, total_s=60, min_bytes_per_s=64 * 1024)
INTENT_COPY = Deadline(connect_s=3, total_s=10)
PROBE_LIVENESS = Deadline(connect_s=3, total_s=5)
PROBE_COMPLETION = Deadline(connect_s=3, total_s=15)
ADMIN_CALL = Deadline(connect_s=3, total_s=10)
DNS_QUERY = Deadline(connect_s=2, total_s=5)
QDRANT_CALL = Deadline(connect_s=5, total_s=30)
QDRANT_SNAPSHOT = Deadline(connect_s=5, total_s=600, min_bytes_per_s=1024 * 1024)

STORE_RETRY = Retry(tries=4, first_s=0.5, most_s=8)
TRAFFIC_RETRY = Retry(tries=5, first_s=0.2, most_s=5)


def retrying(
    work: Callable[[], T],
    *,
    policy: Retry,
    on: tuple[type[Exception], ...],
    clock: Clock,
    rng: random.Random | None = None,
    ends_s: float | None = None,
) -> T:
    """What `work` returns; on the errors `on` it is tried again, and the last one is raised.

    An error whose `after_s` says when the place wants to be asked again is waited for. Nothing is
    tried again after `ends_s` on the clock's `elapsed_s`.
    """
    for pause_s in policy.pauses_s(rng or random.Random()):
        try:
            return work()
        except on as error:
            pause_s = max(pause_s, getattr(error, "after_s", None) or 0.0)
            if ends_s is not None and clock.elapsed_s() + pause_s >= ends_s:
                raise
            clock.sleep(pause_s)
    return work()
