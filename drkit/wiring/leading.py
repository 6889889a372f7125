"""In whose name a command may act, and what the leader acts with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from secrets import token_hex
from typing import Literal

from drkit.coordination.interface import ArbiterUnreachable, Holding, Lease, LeaseHeld
from drkit.coordination.leadership import (
    LeaderPass,
    Leadership,
    Position,
    Stand,
    Unled,
    given_pass,
    watch_key,
)
from drkit.errors import GuardRefused, PlaceError
from drkit.events import Note
from drkit.io_policy import LONGEST_EFFECT_S
from drkit.operations.watch.protect import Protector
from drkit.sandbox.overrides import SANDBOX_PACE
from drkit.state.audit import AuditLog
from drkit.wiring.app import App
from drkit.wiring.watch import service_of

# A command that leads for itself does not renew: it ends before this, or does nothing more.
_COMMAND_TTL_S = 60.0


@dataclass(frozen=True, slots=True)
class NotLed:
    """Why this command may not act. `reachable`: the arbiter answered."""

    why: str
    reachable: bool


@contextmanager
def led(app: App) -> Iterator[LeaderPass | NotLed]:
    """In whose name this command may act: in that of the daemon that started it, if that one
    leads; typed, or started by cron, it leads itself for as long as it runs, if nobody else does.
    """
    given, lease = given_pass(), None
    try:
        if given is Unled.BY_HAND:
            found, lease = _taken(app)
        else:
            found = _still_led(app, given)
    except ArbiterUnreachable as error:
        found = NotLed(error.message, False)
    except (LeaseHeld, GuardRefused) as error:  # or a clock that is wrong
        found = NotLed(error.message, True)
    try:
        yield found
    finally:
        if lease is not None:
            with suppress(ArbiterUnreachable):  # then it runs out by itself
                app.arbiter.release(lease)


def _taken(app: App) -> tuple[LeaderPass | NotLed, Lease | None]:
    """The lease of the watch for one command. One that was not given back is taken only when
    nothing of who had it can still arrive (T3): a command does not live long enough to wait.
    """
    key, holder = watch_key(service_of(app).name), f"{app.machine}/probe-{os.getpid()}"
    held = app.arbiter.holding(key)
    if held is not None and held.left_s + LONGEST_EFFECT_S > 0:
        wait = f"is free in {held.left_s + LONGEST_EFFECT_S:.0f} s unless it is renewed (T3)"
        return NotLed(f"{held.holder} has the lease of the watch, which {wait}", True), None
    lease = app.arbiter.acquire(key, holder, ttl_s=_COMMAND_TTL_S)
    return LeaderPass(holder), lease


def _still_led(app: App, given: LeaderPass | Unled) -> LeaderPass | NotLed:
    holding = leader_now(app)
    if (
        isinstance(given, LeaderPass)
        and holding is not None
        and holding.holder == given.holder
        and holding.left_s > 0
    ):
        return given
    held = holding is not None and holding.left_s > 0
    return NotLed(f"{holding.holder if holding and held else 'nobody'} leads", True)


def leader_now(app: App) -> Holding | None:
    """Who has the lease of the watch. Raises `ArbiterUnreachable`."""
    return app.arbiter.holding(watch_key(service_of(app).name))


def open_leadership(app: App) -> Leadership | None:
    """A daemon's candidacy; None when no service is watched."""
    if app.config.service is None:
        return None
    holder = f"{app.machine}/daemon-{os.getpid()}-{token_hex(3)}"
    return Leadership(
        app.arbiter, app.config.service.name, holder, app.clock, ttl_s=app.config.decide.lease
    )


def tell_position(app: App, now: Position) -> None:
    """Says where this daemon stands from now on, in its log and in the audit log."""
    level: Literal["info", "warning"] = (
        "info" if now.stand in (Stand.LEADS, Stand.STANDS_BY) else "warning"
    )
    words = f"{now.stand.value}{f': {now.why}' if now.why else ''}"
    app.emit(Note(level, "daemon", words))
    try:
        AuditLog(app.database, app.clock).append(
            f"daemon {now.stand.value}", service_of(app).name, {"why": now.why}, who=app.machine
        )
    except PlaceError as error:
        app.emit(Note("warning", "daemon", f"not in the audit log: {error.message}"))


def open_protector(app: App, leader: LeaderPass) -> Protector:
    log = AuditLog(app.database, app.clock)
    service = service_of(app)
    return Protector(
        service=service.name,
        arbiter=app.arbiter,
        switches=app.switches("production") if service.external else (),
        leader=leader,
        clock=app.clock,
        audit=lambda what, detail: log.append(what, service.name, detail, who=leader.holder),
        time_scale=SANDBOX_PACE.time_scale if app.sandbox else 1.0,
    )
