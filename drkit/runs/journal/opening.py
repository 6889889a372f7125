"""Whether a run may be opened now: pause, limits and cooldown, read where it is opened (R4)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from sqlalchemy import Connection, select

from drkit.config.decide import Decide
from drkit.errors import GuardRefused, NeedsOperator
from drkit.runs.records import RunRecord
from drkit.state.schema import REMEMBERED, RUNS
from drkit.units import format_duration


class RunOpen(NeedsOperator):
    """The service has an open run, which has to end first (R4)."""


class NotNow(GuardRefused):
    """A pause, a limit or the cooldown stands against a run that nobody typed (R4)."""


class Right(Enum):
    """By what right a run is opened: the less a person said, the more stands against it."""

    TYPED = "an operator typed it"
    APPROVED = "an operator approved a decision"
    UNATTENDED = "nobody was asked"


@dataclass(frozen=True, slots=True)
class Opener:
    """Who opens a run. `settings` hold the limits; without them none is looked at. `decision_id`:
    the approved decision that the run carries out, which ends as the run is opened.
    """

    who: str
    right: Right = Right.TYPED
    settings: Decide | None = None
    decision_id: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What could stand against a run of production, in words where it does. Counts are of runs
    that nobody typed, opened in the last 24 hours and 7 days.
    """

    paused: str | None
    cooldown_left_s: float
    unattended_last_day: int
    unattended_last_week: int


def read_standing(
    connection: Connection, service: str, settings: Decide, now: datetime
) -> Standing:
    """Where the service stands. Read within the transaction that opens the run, it stays true."""
    runs = connection.execute(
        select(RUNS.c.created_at, RUNS.c.ended_at, RUNS.c.unattended).where(
            RUNS.c.service == service, RUNS.c.namespace == "production"
        )
    ).all()
    ends = [row.ended_at for row in runs if row.ended_at is not None]
    acknowledged = _remembered(connection, f"acknowledged/{service}")
    looked_at = datetime.fromisoformat(acknowledged) if isinstance(acknowledged, str) else None
    last = max(ends, default=None)
    cools = last is not None and (looked_at is None or looked_at < last)
    since_s = (now - last).total_seconds() if last is not None else 0.0

    def unattended(days: int) -> int:
        return sum(
            bool(row.unattended) and now - row.created_at < timedelta(days=days) for row in runs
        )

    return Standing(
        paused=_pause(_remembered(connection, f"pause/{service}"), now),
        cooldown_left_s=max(0.0, settings.cooldown - since_s) if cools else 0.0,
        unattended_last_day=unattended(1),
        unattended_last_week=unattended(7),
    )


def against(standing: Standing, settings: Decide) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(what stands against any run by a decision, what stands against an unattended one only)."""
    both = (f"it is paused {standing.paused}",) if standing.paused else ()
    alone = []
    if standing.cooldown_left_s > 0:
        left = format_duration(standing.cooldown_left_s)
        alone.append(f"a run ended a short while ago: {left} of its cooldown are left")
    if standing.unattended_last_day >= settings.most_per_day:
        alone.append(f"{settings.most_per_day} in 24 hours is the limit of unattended runs")
    if standing.unattended_last_week >= settings.most_per_week:
        alone.append(f"{settings.most_per_week} in 7 days is the limit of unattended runs")
    return both, tuple(alone)


def may_open(
    connection: Connection, service: str, opener: Opener, now: datetime
) -> tuple[str, ...]:
    """What is passed over because of who opens it, in words. Raises `NotNow`.

    An unattended run respects everything; an approved one a pause; a typed one says what it
    passed over and goes on.
    """
    if opener.settings is None:
        return ()
    both, alone = against(read_standing(connection, service, opener.settings, now), opener.settings)
    stands = {
        Right.TYPED: (),
        Right.APPROVED: both,
        Right.UNATTENDED: (*both, *alone),
    }[opener.right]
    if stands:
        raise NotNow(
            f"no run of {service} is opened: {'; '.join(stands)}",
            hint="drkit ack ends a cooldown, drkit pause --for 0s a pause; "
            "drkit failover --to TARGET, typed by an operator, passes over all of it",
        )
    return (*both, *alone)


def open_already(found: RunRecord, wanted: str) -> RunOpen:
    users = ", and leads users to who served before, if that one answers, else to the external API"
    return RunOpen(
        f"{found.service} has an open {found.kind}: {found.id} in {found.state.value}; "
        f"no {wanted} was started",
        hint=f"`drkit runs show {found.id}` says where it stands, "
        f"`drkit runs resume {found.id}` brings it to an end, "
        f"`drkit runs rollback {found.id}` takes it back"
        + (users if found.namespace == "production" else ""),
    )


def _pause(value: object, now: datetime) -> str | None:
    if not isinstance(value, dict):
        return None
    until = datetime.fromisoformat(value["until"])
    if until <= now:
        return None
    return f"until {until:%H:%M} UTC by {value['by']}: {value['why']}"


def _remembered(connection: Connection, name: str) -> object:
    kept = select(REMEMBERED.c.value).where(REMEMBERED.c.name == name)
    row = connection.execute(kept).first()
    return None if row is None else json.loads(row.value)
