"""What a decision depends on, read now; pauses; and what follows from a round of the watch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from drkit.config.decide import Decide
from drkit.config.models import Config
from drkit.config.places import Probe
from drkit.coordination.decision import DecisionEvent, Facts
from drkit.coordination.decisions import DecisionRecord, Decisions
from drkit.errors import ConfigError
from drkit.health.interface import ServiceHealth, ServiceState
from drkit.health.witness.asking import Voice
from drkit.operations.watch.standby import StandbyProof
from drkit.runs.journal.journal import Journal
from drkit.runs.journal.opening import read_standing
from drkit.runs.records import Effect
from drkit.state.database import Database

TO_STANDBY, COLD = "switch-to-standby", "primary-gpu-down"
LONGEST_PAUSE = timedelta(hours=8)


@dataclass(frozen=True, slots=True)
class Pause:
    until: datetime
    by: str
    why: str


def check_pause(until: datetime, now: datetime) -> None:
    """Raises `ConfigError` for a pause that is none, or longer than one may be."""
    if not now < until <= now + LONGEST_PAUSE:
        raise ConfigError(
            "a pause lasts more than nothing and at most 8 hours",
            hint="drkit pause --for 2h; it can be given again",
        )


def pause(
    database: Database, service: str, *, until: datetime, now: datetime, by: str, why: str
) -> Pause:
    """No decision leads to a run until then. A pause always ends: `ConfigError` beyond 8 hours."""
    check_pause(until, now)
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


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What is known beyond this machine's own rounds. `voices`: of the witnesses that were asked.

    `leads`: this drkit has the lease of the watch now. An operator's word needs no leadership.
    """

    arbiter_reachable: bool
    leads: bool
    voices: tuple[Voice, ...] = ()
    standby: StandbyProof | None = None


def facts_now(
    health: ServiceHealth,
    elsewhere: Elsewhere,
    *,
    service: str,
    settings: Decide,
    journal: Journal,
    database: Database,
    now: datetime,
    asks_a_person: tuple[str, ...],
) -> Facts:
    """Everything a decision is weighed by, read at one moment. `asks_a_person`: why what would be
    carried out may not be by nobody's word.
    """
    with database.read() as connection:
        standing = read_standing(connection, service, settings, now)
    heard = [voice for voice in elsewhere.voices if voice is not Voice.SILENT]
    run = journal.open_run_of(service, "production")
    standby = elsewhere.standby
    return Facts(
        down=health.state is ServiceState.DOWN,
        ever_healthy=health.ever_healthy,
        answers=health.good_rounds > 0,
        blind=health.blind,
        flapping=health.flapping,
        seen_down=int(health.down_now) + heard.count(Voice.DOWN),
        seeing=int(not health.blind) + len(heard),
        leads=elsewhere.leads,
        arbiter_reachable=elsewhere.arbiter_reachable,
        paused=standing.paused is not None,
        open_run=run is not None,
        cooldown_left_s=standing.cooldown_left_s,
        unattended_last_day=standing.unattended_last_day,
        unattended_last_week=standing.unattended_last_week,
        standby_proof_age_s=standby.age_s(now) if standby else None,
        fence_began=run is not None and _fence_began(journal, run.id),
        standby_fails=standby is not None and standby.fails is not None,
        asks_a_person=asks_a_person,
    )


def decided_runbook(config: Config) -> str:
    """What a decision carries out. Where a standby could be switched to by nobody's word, that;
    else what brings the service up anew. Pure.
    """
    settings = config.decide
    if settings.runbook is not None:
        return settings.runbook
    if settings.mode != "auto":
        return COLD
    to = config.targets.get(settings.to) if settings.to is not None else None
    warm = to.standby if to is not None else bool(standbys(config))
    return TO_STANDBY if warm else COLD


def decided_target(
    config: Config, runbook: str | None = None, *, serving: str | None = None
) -> str | None:
    """Where a decision leads by that runbook (default: the decided one); None without a target.

    Not to the target that is `serving`, which is what has failed, unless there is no other.
    """
    to_standby = (runbook or decided_runbook(config)) == TO_STANDBY
    names = (standbys(config) if to_standby else ()) or tuple(config.targets)
    if config.decide.to is not None:
        names = (config.decide.to, *names)
    return next((name for name in names if name != serving), next(iter(names), None))


def standbys(config: Config) -> tuple[str, ...]:
    """The targets that run already."""
    return tuple(name for name, target in config.targets.items() if target.standby)


def lacks_for_auto(config: Config) -> tuple[str, ...]:
    """What `mode: auto` can never do without and the configuration does not have, in words; empty
    in other modes.
    """
    if config.decide.mode != "auto":
        return ()
    name = decided_target(config)
    target = config.targets.get(name) if name is not None else None
    return tuple(
        words
        for lacks, words in (
            (not config.decide.witnesses, "no witness is configured"),
            (target is None, "there is no target"),
            (target is not None and not target.standby, f"{name} is no warm standby"),
        )
        if lacks
    )


def is_well(health: ServiceHealth, probe: Probe) -> bool:
    """The outage is over: the service is seen well for long enough, wherever it serves from.
    What is merely no longer DOWN, or not known, is not well.
    """
    well = (ServiceState.HEALTHY, ServiceState.SERVING_TARGET, ServiceState.FAILBACK_READY)
    return health.state in well and health.good_rounds >= probe.up_after and not health.blind


def weigh(
    decisions: Decisions, facts: Facts, settings: Decide, *, well: bool
) -> tuple[DecisionRecord | None, DecisionRecord | None]:
    """(before, after): the open decision, moved by what is known now. `well`: see `is_well`."""
    event = DecisionEvent.RECOVERED if well else DecisionEvent.WEIGHED
    return decisions.weigh(event, facts, settings)


def _fence_began(journal: Journal, run_id: str) -> bool:
    return any(
        entry.kind == "intent" and entry.payload.get("effect") == Effect.FENCE.value
        for entry in journal.entries(run_id)
    )
