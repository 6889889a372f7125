"""A primary that is watched for a very long time: what goes wrong with it, and who calls it DOWN.

Everything is drawn from one seed. The world holds the truth; the watcher sees it only through the
rounds that `drkit probe` would make, and its table and its decision are the ones that run.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from decision_facts import OUTAGE

from drkit.clock import ManualClock
from drkit.config.decide import Decide
from drkit.config.places import Probe
from drkit.coordination.decision import Decision, DecisionEvent, DecisionState, decide
from drkit.health.interface import Observation, ProbeResult, ServiceHealth, ServiceState, Verdict
from drkit.health.memory import observation
from drkit.health.table import advance
from drkit.health.witness.sentry import word_of
from drkit.health.witness.statement import Word

AT = datetime(2026, 1, 1, tzinfo=UTC)
URL = "http://192.0.2.1:8000"
_CUT_OFF = ProbeResult("reference", Verdict.FAILED, "no reference host answers")
GOOD = observation(URL, "m", "m", ManualClock())
REFUSED = observation(URL, "m", None, ManualClock())
BLIND = Observation(AT, URL, (*REFUSED.results, _CUT_OFF))
_LIVES = (
    ProbeResult("liveness", Verdict.PASSED, "200"),
    ProbeResult("identity", Verdict.PASSED, "serves m"),
)
HUNG = Observation(
    AT,
    URL,
    (
        *_LIVES,
        ProbeResult("completion", Verdict.FAILED, "did not answer in time"),
        ProbeResult("progress", Verdict.FAILED, "no token counter moves"),
    ),
)
BUSY = Observation(
    AT,
    URL,
    (
        *_LIVES,
        ProbeResult("completion", Verdict.NOT_MEASURED, "queued"),
        ProbeResult("progress", Verdict.PASSED, "moves"),
    ),
)

SLOW_FRONT = Observation(
    AT,
    URL,
    (
        ProbeResult("liveness", Verdict.NOT_MEASURED, "slow: tokens come meanwhile"),
        ProbeResult("identity", Verdict.NOT_MEASURED, "slow: tokens come meanwhile"),
        ProbeResult("completion", Verdict.NOT_MEASURED, "queued: tokens come meanwhile"),
        ProbeResult("progress", Verdict.PASSED, "moves"),
    ),
)

# What happens: how long it lasts, what a round sees meanwhile, and how long such a round takes.
TROUBLES: dict[str, tuple[tuple[float, float], Callable[[float], tuple[Observation, float]]]] = {
    "full queue": ((30, 900), lambda limit_s: (BUSY, limit_s)),
    "slow front end": ((30, 600), lambda limit_s: (SLOW_FRONT, 10.0 + limit_s)),
    "slow engine": ((30, 600), lambda limit_s: (GOOD, limit_s * 0.9)),
    "restart": ((5, 30), lambda _limit_s: (REFUSED, 0.01)),
    "watcher cut off": ((30, 1800), lambda _limit_s: (BLIND, 5.0)),
    "path cut": ((60, 900), lambda _limit_s: (REFUSED, 5.0)),
    "lossy": ((60, 900), lambda _limit_s: (GOOD, 0.1)),
}
FAULTS: dict[str, Callable[[float], tuple[Observation, float]]] = {
    "outage": lambda _limit_s: (REFUSED, 0.01),
    "silent outage": lambda _limit_s: (REFUSED, 5.0),
    "hung engine": lambda limit_s: (HUNG, limit_s),
}
ROUND_LOST = 0.002
ROUND_LOST_WHEN_LOSSY = 0.05


@dataclass
class Report:
    rounds: int = 0
    false_failovers: int = 0
    path_cuts_called_down: int = 0
    troubles: dict[str, int] = field(default_factory=dict)
    down_after_s: dict[str, list[float]] = field(default_factory=dict)
    rounds_to_down: list[int] = field(default_factory=list)


class World:
    """One watched primary. `live(rounds)` and `fail(kind)` move time on and add to the report."""

    def __init__(self, seed: int, settings: Probe | None = None) -> None:
        self.rng = random.Random(seed)
        self.settings = settings or Probe()
        self.decide = Decide(mode="auto")
        self.report = Report()
        self.now_s = 0.0
        self.health = self.witness = ServiceHealth()
        self.decision: Decision | None = None
        self.trouble: str | None = None
        self.until_s = 0.0

    def live(self, rounds: int) -> None:
        """The primary lives, with all that may look like an outage; nobody may fail it over."""
        for _ in range(rounds):
            self._pause()
            if self.now_s >= self.until_s:
                self._change()
            seen, took_s = self._look()
            elsewhere = self.trouble in ("watcher cut off", "path cut")
            by_witness = GOOD if elsewhere else self._look()[0]
            state = self._round(seen, took_s, by_witness)
            if state is ServiceState.DOWN and self.trouble == "path cut":
                self.report.path_cuts_called_down += 1
            if self._decided() is DecisionState.APPROVED:
                self.report.false_failovers += 1

    def fail(self, kind: str) -> None:
        """The primary fails after a quiet time, at any phase of a round; then it is well again."""
        self._settle()
        pause_s = self._next_pause_s()
        begun_s = self.now_s + self.rng.uniform(0, pause_s)
        rounds = 0
        while self.health.state is not ServiceState.DOWN:
            self.now_s += pause_s
            seen, took_s = FAULTS[kind](self._limit_s())
            self._round(seen, took_s, seen)
            pause_s = self._next_pause_s()
            rounds += 1
            assert rounds < 100
        self.report.down_after_s.setdefault(kind, []).append(self.now_s - begun_s)
        self.report.rounds_to_down.append(rounds)
        assert self._decided() is DecisionState.APPROVED
        self.decision = None
        self._settle()

    def _settle(self) -> None:
        self.trouble, self.until_s = None, self.now_s
        while self.health.state is not ServiceState.HEALTHY or self.health.suspicions:
            self._pause()
            self._round(GOOD, 0.1, GOOD)
        self.decision = None

    def _round(self, seen: Observation, took_s: float, by_witness: Observation) -> ServiceState:
        """One round of the watcher, and of a witness elsewhere that keeps a table of its own."""
        self.now_s += took_s
        self.health, _ = advance(self.health, seen, self.now_s, self.settings)
        self.witness, _ = advance(self.witness, by_witness, self.now_s, self.settings)
        self.report.rounds += 1
        return self.health.state

    def _look(self) -> tuple[Observation, float]:
        lost = ROUND_LOST_WHEN_LOSSY if self.trouble == "lossy" else ROUND_LOST
        if self.rng.random() < lost:
            return REFUSED, 5.0
        if self.trouble is None:
            return GOOD, 0.1
        return TROUBLES[self.trouble][1](self._limit_s())

    def _change(self) -> None:
        """Quiet and trouble take turns; some trouble comes in a row, as a flapping network does."""
        if self.trouble is None or self.rng.random() < 0.2:
            # Two restarts without a good round between are a crash loop, which is an outage.
            others = [trouble for trouble in TROUBLES if trouble != self.trouble]
            self.trouble = self.rng.choice(others)
            shortest_s, longest_s = TROUBLES[self.trouble][0]
            self.until_s = self.now_s + self.rng.uniform(shortest_s, longest_s)
            self.report.troubles[self.trouble] = self.report.troubles.get(self.trouble, 0) + 1
        else:
            self.trouble = None
            self.until_s = self.now_s + self.rng.uniform(60, 3600)

    def _decided(self) -> DecisionState | None:
        """The decision that is open, after this round; None while the service is not DOWN."""
        if self.health.state is not ServiceState.DOWN:
            self.decision = None
            return None
        witness = word_of(self.witness)
        facts = replace(
            OUTAGE,
            ever_healthy=self.health.ever_healthy,
            answers=self.health.good_rounds > 0,
            blind=self.health.blind,
            flapping=self.health.flapping,
            seen_down=self.health.down_now + (witness is Word.DOWN),
            seeing=1 + (witness is not Word.NOT_KNOWN),
        )
        self.decision = decide(
            self.decision or Decision(), DecisionEvent.WEIGHED, facts, self.now_s, self.decide
        )
        return self.decision.state

    def _pause(self) -> None:
        self.now_s += self._next_pause_s()

    def _next_pause_s(self) -> float:
        if self.health.state is ServiceState.SUSPECT:
            return self.settings.suspect_every
        return 30.0 * self.rng.uniform(0.9, 1.1)

    def _limit_s(self) -> float:
        return self.settings.completion_timeout
