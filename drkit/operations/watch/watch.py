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
from drkit.health.measures.history import scrapes_from, with_round, with_scrape
from drkit.health.probes.look import Reach, look
from drkit.health.record import health_from, health_json
from drkit.health.scrape import Scrape
from drkit.health.table import advance, signal_of

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
        self._keep(observation)
        return Watched(site, endpoint, observation, health, changes)

    def scrapes(self, endpoint_url: str) -> tuple[Scrape, ...]:
        """What the server at this address measured of itself of late, oldest first."""
        kept = self.memory.recall(f"scrapes/{self.service}")
        if not isinstance(kept, dict) or kept.get("endpoint") != endpoint_url:
            return ()
        return scrapes_from(kept.get("rows"), self.clock.elapsed_s())

    def tallies(self) -> object:
        """How often the service answered, for `drkit.health.measures.history.availability`."""
        return self.memory.recall(f"rounds/{self.service}")

    def _keep(self, observation: Observation) -> None:
        name, url = f"scrapes/{self.service}", observation.endpoint_url
        kept = self.memory.recall(name)
        rows = kept.get("rows") if isinstance(kept, dict) and kept.get("endpoint") == url else None
        rows = with_scrape(rows, observation.scrape, self.clock.elapsed_s())
        self.memory.remember(name, {"endpoint": url, "rows": rows})
        tallies = with_round(self.tallies(), signal_of(observation), observation.at)
        self.memory.remember(f"rounds/{self.service}", tallies)

    @property
    def _name(self) -> str:
        return f"health/{self.service}"
