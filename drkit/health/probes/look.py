"""One look at a server: the probes, and when they fail, whether this machine sees anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from drkit.compute.interface import Endpoint
from drkit.health.interface import Observation, Prober, ProbeResult

Reach = Callable[[Sequence[str]], ProbeResult]


def look(
    prober: Prober,
    reach: Reach,
    endpoint: Endpoint,
    *,
    model: str,
    api_key: str | None,
    reference_hosts: Sequence[str],
) -> Observation:
    """The observation. The reference hosts are asked only when the server does not seem alive."""
    observation = prober.observe(endpoint, model=model, api_key=api_key)
    if observation.alive:
        return observation
    own = reach(reference_hosts)
    return replace(observation, results=(*observation.results, own))
