"""Is it alive? Observations of one server, and the service state they lead to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

from drkit.compute.interface import Endpoint
from drkit.health.scrape import Scrape


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


# The probes of the server itself. All others are witnesses: they are shown, alert, or explain.
DECISIVE = frozenset({"liveness", "identity", "completion"})
# Hosts that have nothing to do with the service: when none answers, this machine is cut off.
REFERENCE = "reference"


@dataclass(frozen=True, slots=True)
class Observation:
    """One round against one server, by address. `answered_by` is the model that named itself;
    `scrape` what the server measured of itself, None where it shows nothing that is understood.
    """

    at: datetime
    endpoint_url: str
    results: tuple[ProbeResult, ...]
    answered_by: str | None = None
    scrape: Scrape | None = None

    @property
    def alive(self) -> bool:
        """No decisive probe failed and at least one proved that tokens come."""
        decisive = [result for result in self.results if result.probe in DECISIVE]
        return all(result.verdict is not Verdict.FAILED for result in decisive) and any(
            result.probe == "completion" and result.verdict is Verdict.PASSED for result in decisive
        )


class ServiceState(Enum):
    """SERVING_TARGET: a run moved traffic to a target; FAILBACK_READY: and the primary verifies."""

    UNKNOWN = "UNKNOWN"
    HEALTHY = "HEALTHY"
    SUSPECT = "SUSPECT"
    DOWN = "DOWN"
    RECOVERING = "RECOVERING"
    SERVING_TARGET = "SERVING_TARGET"
    FAILBACK_READY = "FAILBACK_READY"


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """What the table remembers between rounds. Times are seconds of `Clock.elapsed_s`.

    `home` is the state of a service that is well: HEALTHY on its primary, else SERVING_TARGET.
    `committed`: no run can take the target back any more. `suspicions`: when it was suspected
    lately, for flapping. `blind`: the last round could not see past this machine's own network.
    """

    state: ServiceState = ServiceState.UNKNOWN
    failed_rounds: int = 0
    good_rounds: int = 0
    ever_healthy: bool = False
    first_failed_at: datetime | None = None
    first_failed_elapsed_s: float | None = None
    last_round_elapsed_s: float | None = None
    home: ServiceState = ServiceState.HEALTHY
    committed: bool = True
    suspicions: tuple[float, ...] = ()
    blind: bool = False

    @property
    def down_now(self) -> bool:
        """DOWN, and nothing good was seen since: what a vantage point says when it is asked."""
        return self.state is ServiceState.DOWN and self.good_rounds == 0

    @property
    def flapping(self) -> bool:
        """It was suspected so often of late that nothing may act by itself."""
        return len(self.suspicions) >= FLAPS


FLAPS = 3
FLAPS_WITHIN_S = 1800.0


class Prober(Protocol):
    def observe(self, endpoint: Endpoint, *, model: str, api_key: str | None) -> Observation:
        """One round: liveness, identity and a one-token completion, each with its own deadline.
        Never raises for what the server does: that is what the results say.
        """
        ...


class Memory(Protocol):
    """Where a watch keeps what it knew, from one round to the next; `Database` is one."""

    def remember(self, name: str, value: object) -> None:
        """Keeps a JSON value under `name`, in place of the former one, durably."""
        ...

    def recall(self, name: str) -> object:
        """The JSON value kept under `name`; None where there is none."""
        ...
