"""A prober that answers from a script, endpoint by endpoint, for tests of what listens to it."""

from __future__ import annotations

from drkit.clock import Clock, ManualClock
from drkit.compute.interface import Endpoint
from drkit.health.interface import Observation, ProbeResult, Verdict


class MemoryProber:
    """`set` says how a URL answers from now on; URLs nobody set refuse the connection.

    `asked` holds every (url, model) in order.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or ManualClock()
        self._answers: dict[str, list[str | None]] = {}
        self.asked: list[tuple[str, str]] = []

    def set(self, url: str, *models: str | None) -> None:
        """These models answer the next rounds (None: nobody does), the last one for good."""
        self._answers[url] = list(models)

    def observe(self, endpoint: Endpoint, *, model: str, api_key: str | None) -> Observation:
        self.asked.append((endpoint.url, model))
        script = self._answers.get(endpoint.url, [None])
        answered_by = script.pop(0) if len(script) > 1 else script[0]
        return observation(endpoint.url, model, answered_by, self._clock)


def observation(url: str, model: str, answered_by: str | None, clock: Clock) -> Observation:
    """A round in which `answered_by` answered for `model`, or nobody."""
    if answered_by is None:
        dead = ProbeResult("liveness", Verdict.FAILED, "connection refused")
        rest = ("identity", "completion")
        unasked = (ProbeResult(name, Verdict.NOT_MEASURED, "not asked") for name in rest)
        return Observation(clock.now(), url, (dead, *unasked))
    right = Verdict.PASSED if answered_by == model else Verdict.FAILED
    return Observation(
        clock.now(),
        url,
        (
            ProbeResult("liveness", Verdict.PASSED, "200", 0.001),
            ProbeResult("identity", right, f"serves {answered_by}", 0.001),
            ProbeResult("completion", right, f"answered by {answered_by}", 0.01),
        ),
        answered_by,
    )
