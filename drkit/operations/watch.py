"""One round of the watch: probe who serves now, and move the service's table.

A round is a short command; what it knew is kept in `state` for the next one. While the service is
suspected the rounds follow each other within the same command, so that DOWN does not wait for a
schedule.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from drkit.clock import Clock
from drkit.compute.interface import Endpoint
from drkit.config.decide import Decide
from drkit.config.places import Probe
from drkit.health.interface import Memory, Observation, Prober, ServiceHealth, ServiceState
from drkit.health.look import Reach, look
from drkit.health.record import health_from, health_json
from drkit.health.table import advance

MOST_SUSPECT_ROUNDS = 30


@dataclass(frozen=True, slots=True)
class Watched:
    """What a round found. `site` serves by the role record; `changes` in words, in order."""

    site: str
    endpoint: Endpoint
    observation: Observation
    health: ServiceHealth
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Watch:
    """The watch of one service, whose home is the site `primary`."""

    service: str
    model: str
    primary: str
    probe: Probe
    decide: Decide
    prober: Prober
    reach: Reach
    memory: Memory
    clock: Clock

    def health(self) -> ServiceHealth:
        """What the last round left."""
        return health_from(self.memory.recall(self._name))

    def round(self, site: str, endpoint: Endpoint, api_key: str | None) -> Watched:
        """One round, and while the service is suspected the next ones; kept before it returns."""
        changes: list[str] = []
        for number in range(MOST_SUSPECT_ROUNDS):
            watched = self._once(site, endpoint, api_key)
            changes += watched.changes
            if watched.health.state is not ServiceState.SUSPECT:
                break
            if number + 1 < MOST_SUSPECT_ROUNDS:
                self.clock.sleep(self.probe.suspect_every)
        return replace(watched, changes=tuple(changes))

    def _once(self, site: str, endpoint: Endpoint, api_key: str | None) -> Watched:
        observation = look(
            self.prober,
            self.reach,
            endpoint,
            model=self.model,
            api_key=api_key,
            reference_hosts=self.decide.reference_hosts,
        )
        at_home = site == self.primary
        health = replace(
            self.health(),
            home=ServiceState.HEALTHY if at_home else ServiceState.SERVING_TARGET,
        )
        health, changes = advance(health, observation, self.clock.elapsed_s(), self.probe)
        self.memory.remember(self._name, health_json(health))
        return Watched(site, endpoint, observation, health, changes)

    @property
    def _name(self) -> str:
        return f"health/{self.service}"
