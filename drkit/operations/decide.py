"""What a decision depends on, read now; pauses; and what follows from a round of the watch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from drkit.config.decide import Decide
from drkit.coordination.decision import DecisionEvent, Facts
from drkit.coordination.decisions import DecisionRecord, Decisions
from drkit.coordination.interface import Arbiter, ArbiterUnreachable
from drkit.errors import ConfigError
from drkit.health.interface import ServiceHealth, ServiceState
from drkit.runs.journal import Journal
from drkit.runs.records import RunRecord
from drkit.state.database import Database

LONGEST_PAUSE = timedelta(hours=8)


@dataclass(frozen=True, slots=True)
class Pause:
    until: datetime
    by: str
    why: str


def pause(
    database: Database, service: str, *, until: datetime, now: datetime, by: str, why: str
) -> Pause:
    """No decision leads to a run until then. A pause always ends: `ConfigError` beyond 8 hours."""
    if not now < until <= now + LONGEST_PAUSE:
        raise ConfigError(
            "a pause lasts more than nothing and at most 8 hours",
            hint="drkit pause --for 2h; it can be given again",
        )
    database.remember(f"pause/{service}", {"until": until.isoformat(), "by": by, "why": why})
    return Pause(until, by, why)


def end_pause(database: Database, service: str) -> None:
    database.remember(f"pause/{service}", None)


def current_pause(database: Database, service: str, now: datetime) -> Pause | None:
    """The pause that holds now; None without one."""
    value = database.recall(f"pause/{service}")
    if not isinstance(value, dict):
        return None
    found = Pause(datetime.fromisoformat(value["until"]), value["by"], value["why"])
    return found if found.until > now else None


def acknowledge(database: Database, service: str, now: datetime) -> None:
    """Ends the wait after the runs that have ended so far."""
    database.remember(f"acknowledged/{service}", now.isoformat())


def facts_now(
    health: ServiceHealth,
    *,
    service: str,
    settings: Decide,
    arbiter: Arbiter,
    journal: Journal,
    database: Database,
    now: datetime,
) -> Facts:
    """Everything a decision is weighed by, read at one moment."""
    down = health.state is ServiceState.DOWN
    runs = [run for run in journal.runs() if run.service == service and run.kind == "failover"]
    return Facts(
        down=down,
        ever_healthy=health.ever_healthy,
        answers=health.good_rounds > 0,
        blind=health.blind,
        flapping=health.flapping,
        seen_down=int(health.down_now),
        seeing=int(not health.blind),
        leads=True,
        arbiter_reachable=_reachable(arbiter, service),
        paused=current_pause(database, service, now) is not None,
        open_run=journal.open_run_of(service, "production") is not None,
        cooldown_left_s=_cooldown_left_s(runs, settings, _acknowledged(database, service), now),
        unattended_last_day=0,
        unattended_last_week=0,
        standby_proof_age_s=None,
    )


def weigh(
    decisions: Decisions, facts: Facts, settings: Decide
) -> tuple[DecisionRecord | None, DecisionRecord | None]:
    """(before, after): the open decision, moved by what is known now."""
    event = DecisionEvent.WEIGHED if facts.down else DecisionEvent.RECOVERED
    return decisions.weigh(event, facts, settings)


def _reachable(arbiter: Arbiter, service: str) -> bool:
    try:
        arbiter.read_role(service)
    except ArbiterUnreachable:
        return False
    return True


def _acknowledged(database: Database, service: str) -> datetime | None:
    value = database.recall(f"acknowledged/{service}")
    return datetime.fromisoformat(value) if isinstance(value, str) else None


def _cooldown_left_s(
    runs: list[RunRecord], settings: Decide, acknowledged: datetime | None, now: datetime
) -> float:
    ends = [run.ended_at for run in runs if run.ended_at is not None]
    last = max(ends, default=None)
    if last is None or (acknowledged is not None and acknowledged >= last):
        return 0.0
    return max(0.0, settings.cooldown - (now - last).total_seconds())
