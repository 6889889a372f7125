"""Is it alive? Observations of one server, and the service state they lead to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

from drkit.compute.interface import Endpoint


class Verdict(Enum):
    PASSED = "passed"
    FAILED = "failed"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One signal of one round. `latency_s` is None where nothing was measured."""

    probe: str
    verdict: Verdict
    detail: str
    latency_s: float | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """One round against one server, by address. `answered_by` is the model that named itself."""

    at: datetime
    endpoint_url: str
    results: tuple[ProbeResult, ...]
    answered_by: str | None = None

    @property
    def alive(self) -> bool:
        """No probe failed and at least one proved that tokens come."""
        return all(result.verdict is not Verdict.FAILED for result in self.results) and any(
            result.probe == "completion" and result.verdict is Verdict.PASSED
            for result in self.results
        )


class ServiceState(Enum):
    UNKNOWN = "UNKNOWN"
    HEALTHY = "HEALTHY"
    SUSPECT = "SUSPECT"
    DOWN = "DOWN"


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """What the table remembers between rounds. Times are seconds of `Clock.elapsed_s`."""

    state: ServiceState = ServiceState.UNKNOWN
    failed_rounds: int = 0
    good_rounds: int = 0
    ever_healthy: bool = False
    first_failed_at: datetime | None = None
    first_failed_elapsed_s: float | None = None


class Prober(Protocol):
    def observe(self, endpoint: Endpoint, *, model: str, api_key: str | None) -> Observation:
        """One round: liveness, identity and a one-token completion, each with its own deadline.
        Never raises for what the server does: that is what the results say.
        """
        ...
