"""Who serves, who leads, what is decided, and what stands against acting alone: as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from drkit.config.decide import Decide
from drkit.coordination.decision import Facts, blocks, unattended_blocks
from drkit.coordination.decisions import DecisionRecord
from drkit.coordination.hold import HoldNote
from drkit.coordination.interface import ArbiterProof, Holding
from drkit.health.interface import ServiceHealth
from drkit.health.witness.asking import Heard
from drkit.operations.costs.paid import PaidMachine
from drkit.operations.roles import SeenRole
from drkit.operations.watch.decide import Pause
from drkit.operations.watch.standby import StandbyProof
from drkit.runs.records import EXTERNAL, RunRecord
from drkit.state.health_log import HealthChange
from drkit.units import format_duration


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """`site`, `endpoint_url`: who serves by `role`. `leader`: None when nobody leads, or nobody
    knows. `not_auto`: why no run would be opened without an approval if it went DOWN now.
    """

    service: str
    site: str
    endpoint_url: str
    role: SeenRole
    leader: Holding | None
    arbiter: str
    proof: ArbiterProof | None
    health: ServiceHealth
    changes: Sequence[HealthChange]
    hold: HoldNote | None
    pause: Pause | None
    cooldown_left_s: float
    decision: DecisionRecord | None
    open_run: RunRecord | None
    heard: Sequence[Heard]
    standbys: Sequence[StandbyProof]
    mode: str
    not_auto: tuple[str, ...]
    machines: Sequence[PaidMachine] = ()


def not_auto(facts: Facts, settings: Decide) -> tuple[str, ...]:
    """What would stand against an unattended run if the service went DOWN now and all who see
    anything saw it, in words.
    """
    outage = replace(facts, down=True, answers=False, leads=True, seen_down=max(2, facts.seeing))
    alone = unattended_blocks(outage, settings.model_copy(update={"mode": "auto"}))
    return (*blocks(outage), *alone)


def service_words(status: ServiceStatus, now: datetime) -> list[str]:
    """The status for people, a line for each thing."""
    return [
        _serves(status, now),
        _leads(status),
        _health(status),
        *(
            [f"PAUSED until {_at(status.pause.until)} by {status.pause.by}: {status.pause.why}"]
            if status.pause
            else []
        ),
        *_acts(status, now),
    ]


def _serves(status: ServiceStatus, now: datetime) -> str:
    role = status.role
    since = f" since {_at(role.role.since)}, epoch {role.role.epoch}" if role.role else ""
    by = f", by {role.role.run_id}" if role.role and role.role.run_id else ""
    line = f"{status.service} is served by {status.site} at {status.endpoint_url}{since}{by}"
    if role.role and role.role.site == EXTERNAL:
        watched = f"{status.site} at {status.endpoint_url} is watched; drkit failback leads home"
        line = f"{status.service} is served by the {EXTERNAL}{since}{by}; {watched}"
    if role.unconfirmed is None:
        return line
    age_s = role.age_s(now)
    read = f"as it was read {format_duration(age_s)} ago" if age_s is not None else "never read"
    return f"{line} ({read}: THE ARBITER IS AWAY: {role.unconfirmed})"


def _leads(status: ServiceStatus) -> str:
    proof = status.proof
    seen = (
        f", seen on {proof.at:%Y-%m-%d}: {proof.seen}"
        if proof
        else ", not yet seen comparing: drkit init"
    )
    if status.role.unconfirmed is not None:
        leads = "nobody knows who leads"
    elif status.leader is None or status.leader.left_s <= 0:
        leads = "nobody leads the watch: start drkit daemon"
    else:
        leads = f"{status.leader.holder} leads the watch"
    return f"{leads}; arbiter: {status.arbiter}{seen}"


def _health(status: ServiceStatus) -> str:
    health, words = status.health, [f"the service is {status.health.state.value}"]
    if status.changes:
        words[0] += f" since {_at(status.changes[0].at)} ({status.changes[0].why})"
    if health.flapping:
        words.append("FLAPPING: nothing acts by itself")
    if health.blind:
        words.append("BLIND: the last round saw nothing beyond this machine's network")
    if status.hold is not None and status.hold.on:
        since = f" since {_at(status.hold.since)}" if status.hold.since else ""
        words.append(f"users are HELD on the external API{since}")
    return "; ".join(words)


def _acts(status: ServiceStatus, now: datetime) -> list[str]:
    lines = []
    if status.open_run is not None:
        run = status.open_run
        lines.append(f"run {run.id} is {run.state.value}: drkit runs attach {run.id}")
    if status.cooldown_left_s > 0:
        left = format_duration(status.cooldown_left_s)
        lines.append(f"cooldown: {left} more; drkit ack ends it")
    for heard in status.heard:
        lines.append(f"witness {heard.witness}: {heard.voice.value}: {heard.detail}")
    for proof in status.standbys:
        age_s = proof.age_s(now)
        passed = f"passed {format_duration(age_s)} ago" if age_s is not None else "never passed"
        fails = f"; FAILS now: {proof.fails}" if proof.fails else ""
        lines.append(f"standby {proof.target}: {passed}{fails}")
    lines += [machine.words() for machine in status.machines]
    auto = f"not available: {'; '.join(status.not_auto)}" if status.not_auto else "available"
    lines.append(f"mode {status.mode}; auto is {auto}")
    return lines


def _at(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
