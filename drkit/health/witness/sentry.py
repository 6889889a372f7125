"""Watches one service for those who ask a witness: the same probes, and the same table."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from drkit.clock import Clock
from drkit.compute.interface import Endpoint
from drkit.config.places import Probe
from drkit.health.interface import Memory, Observation, Prober, ServiceHealth, ServiceState
from drkit.health.probes.look import Reach, look
from drkit.health.record import health_from, health_json
from drkit.health.table import advance, signal_of
from drkit.health.witness.statement import MOST_ROUNDS, Round, Statement, Word

_WELL = (ServiceState.HEALTHY, ServiceState.SERVING_TARGET, ServiceState.FAILBACK_READY)


class Sentry:
    """One service at one site. Safe to use from many threads; one of them makes the rounds."""

    def __init__(
        self,
        *,
        service: str,
        site: str,
        endpoint: Endpoint,
        model: str,
        api_key: Callable[[], str | None],
        prober: Prober,
        reach: Reach,
        reference_hosts: Sequence[str],
        settings: Probe,
        memory: Memory,
        clock: Clock,
    ) -> None:
        self.service = service
        self._site = site
        self._endpoint = endpoint
        self._model = model
        self._api_key = api_key
        self._prober = prober
        self._reach = reach
        self._reference_hosts = reference_hosts
        self._settings = settings
        self._memory = memory
        self._clock = clock
        self._lock = threading.Lock()
        self._health, self._rounds = self._remembered()

    def round(self) -> ServiceHealth:
        """One round, kept before it returns. Raises nothing for what the server does."""
        observation = look(
            self._prober,
            self._reach,
            self._endpoint,
            model=self._model,
            api_key=self._api_key(),
            reference_hosts=self._reference_hosts,
        )
        now_s = self._clock.elapsed_s()
        with self._lock:
            self._health, _ = advance(self._health, observation, now_s, self._settings)
            self._rounds = [(now_s, _saw(observation)), *self._rounds][:MOST_ROUNDS]
            self._memory.remember(
                self.service, {"health": health_json(self._health), "rounds": self._rounds}
            )
            return self._health

    def statement(self, nonce: str) -> Statement:
        """What the rounds so far say, for the caller with this nonce."""
        with self._lock:
            health, rounds = self._health, list(self._rounds)
        now_s = self._clock.elapsed_s()
        return Statement(
            service=self.service,
            site=self._site,
            endpoint=self._endpoint.url,
            word=word_of(health),
            state=health.state.value,
            rounds=tuple(Round(round(now_s - at_s, 1), saw) for at_s, saw in rounds),
            at=self._clock.now(),
            nonce=nonce,
        )

    def _remembered(self) -> tuple[ServiceHealth, list[tuple[float, str]]]:
        """What it knew before it was started again. A boot of this machine ends what is timed."""
        kept: Any = self._memory.recall(self.service)
        if not isinstance(kept, dict):
            return ServiceHealth(), []
        now_s = self._clock.elapsed_s()
        try:
            rounds = [(float(at_s), str(saw)) for at_s, saw in kept["rounds"]]
        except (KeyError, TypeError, ValueError):
            rounds = []
        kept_rounds = [each for each in rounds if each[0] <= now_s][:MOST_ROUNDS]
        return health_from(kept.get("health")), kept_rounds


def word_of(health: ServiceHealth) -> Word:
    """DOWN only by the table's own rule; while it is blind or suspects, it does not know."""
    if health.blind:
        return Word.NOT_KNOWN
    if health.down_now:
        return Word.DOWN
    if health.state in _WELL and health.failed_rounds == 0:
        return Word.WELL
    return Word.NOT_KNOWN


def _saw(observation: Observation) -> str:
    failed = [each.probe for each in observation.results if each.verdict.value == "failed"]
    return signal_of(observation).value + (f" ({', '.join(failed)})" if failed else "")
