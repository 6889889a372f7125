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


@dataclass(frozen=True, slots=True)
class FanOutPolicy:
    """How objects go to several stores at once, and for how long the run waits for one of them.

    A store hangs when no byte moves for `patience_s`, and crawls when it moved less than
    `least_bytes_per_s` over `crawl_s`; both only while others move, and enough of them are left.
    """

    connections: int = 3
    bytes_in_flight: int = 96 << 20
    silence_s: float = 4.0
    most_bytes_per_s: int = 16 << 20
    least_bytes_per_s: int = 256 * 1024
    crawl_s: float = 20.0

    def patience_s(self, sending_bytes: int, own_rate: float, others_rate: float) -> float:
        """Seconds without a byte of the `sending_bytes` that are on their way.

        Not every adapter shows its bytes as they go, so the whole may take as long as this store
        took before, or four times as long as the slowest other one; rates in bytes a second, 0
        where nothing was measured yet.
        """
        rate = own_rate or min(others_rate, self.most_bytes_per_s) / 4 or self.least_bytes_per_s
        return self.silence_s + 1.25 * sending_bytes / rate


@dataclass(frozen=True, slots=True)
class ReadPolicy:
    """How much is read at once, and when a store that is slow to answer is no longer waited for.

    Each store has `connections`; what is close together in a pack is read as one range of at most
    `range_bytes`, over gaps of at most `gap_bytes`. An answer that takes `hedge_times` as long as
    others did (at least `hedge_least_s`; `hedge_first_s` while nothing was measured) is asked of
    another store too. `open_patience_s` is how long stores may be silent after the first answered;
    a restore, for which any one is enough, waits `restore_patience_s`, and for a store that is
    needed `needed_patience_s` are waited, as this machine may be the one that is slow.
    """

    connections: int = 4
    bytes_in_flight: int = 64 << 20
    range_bytes: int = 4 << 20
    gap_bytes: int = 256 << 10
    hedge_least_s: float = 0.5
    hedge_first_s: float = 1.5
    hedge_times: float = 3.0
    open_patience_s: float = 4.0
    restore_patience_s: float = 1.0
    needed_patience_s: float = 60.0


STORE_REQUEST = Deadline(connect_s=5, total_s=60, min_bytes_per_s=64 * 1024)
FAN_OUT = FanOutPolicy()
READS = ReadPolicy()
SECRET_LOOKUP = Deadline(connect_s=3, total_s=15)
INTENT_COPY = Deadline(connect_s=3, total_s=10)
PROBE_LIVENESS = Deadline(connect_s=3, total_s=5)
PROBE_COMPLETION = Deadline(connect_s=3, total_s=15)
CANARY = Deadline(connect_s=3, total_s=5)
METRICS_CALL = Deadline(connect_s=2, total_s=5)
OBSERVER_CALL = Deadline(connect_s=3, total_s=10)
WITNESS_CALL = Deadline(connect_s=3, total_s=5)
ADMIN_CALL = Deadline(connect_s=3, total_s=10)
DNS_QUERY = Deadline(connect_s=2, total_s=5)
LONGEST_EFFECT_S = 60.0
"""No call that creates, fences or moves traffic is waited for longer, so none arrives later."""
QDRANT_CALL = Deadline(connect_s=5, total_s=30)
QDRANT_SNAPSHOT = Deadline(connect_s=5, total_s=600, min_bytes_per_s=1024 * 1024)
RESTIC_CHECK = Deadline(connect_s=0, total_s=3600)

STORE_RETRY = Retry(tries=4, first_s=0.5, most_s=8)
STATE_RETRY = Retry(tries=10, first_s=0.02, most_s=0.5)
ARBITER_RETRY = Retry(tries=8, first_s=0.05, most_s=1)
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
