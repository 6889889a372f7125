"""What runs did, told to the service's table, so that who serves and whether it is well are one."""

from __future__ import annotations

from dataclasses import dataclass

from drkit.clock import Clock
from drkit.config.places import Probe
from drkit.coordination.interface import RoleRecord
from drkit.health.interface import Memory, ServiceHealth, ServiceState
from drkit.health.record import health_from, health_json
from drkit.health.table import Signal, told
from drkit.runs.records import EXTERNAL, RunRecord

_S, _G = ServiceState, Signal


@dataclass(frozen=True, slots=True)
class Runs:
    """`open`: the run of production that is open, if one is. `role`: the record now. `epoch`: of
    the record when the table was told last; None: it never was.
    """

    open: RunRecord | None
    role: RoleRecord | None
    epoch: int | None
    primary: str

    @property
    def at_target(self) -> bool:
        return self.role is not None and self.role.site not in (self.primary, EXTERNAL)


def signals(health: ServiceHealth, runs: Runs) -> tuple[Signal, ...]:
    """What the table has not been told yet. Pure."""
    in_run = health.state is _S.RECOVERING
    uncommitted = health.state is _S.SERVING_TARGET and not health.committed
    if runs.open is not None:
        moved = runs.at_target and runs.role is not None and runs.role.run_id == runs.open.id
        begin = () if in_run or uncommitted else (_G.RUN_BEGAN,)
        return (*begin, _G.RUN_MOVED) if moved and not uncommitted else begin
    epoch = runs.role.epoch if runs.role else 0
    if uncommitted:
        return (_G.RUN_COMMITTED,) if runs.at_target else (_G.RUN_UNDONE,)
    if in_run:
        return _ended(runs, epoch)
    if runs.epoch is None or runs.epoch == epoch:
        return ()
    return (_G.RUN_BEGAN, *_ended(runs, epoch))


def _ended(runs: Runs, epoch: int) -> tuple[Signal, ...]:
    """How a run ended, by where the record leads now."""
    if runs.epoch == epoch:
        return (_G.RUN_UNDONE,)  # it never moved anything, or what it moved is as before
    if runs.at_target:
        return (_G.RUN_MOVED, _G.RUN_COMMITTED)
    # A site that is recorded without an endpoint did not answer when it was.
    home = runs.role is not None and runs.role.site != EXTERNAL and runs.role.endpoint_url
    return (_G.FAILED_BACK,) if home else (_G.RUN_UNDONE,)


def told_epoch(memory: Memory, service: str) -> int | None:
    """The epoch of the record when this machine's table was told last; None: it never was."""
    kept = memory.recall(f"told/{service}")
    return kept if isinstance(kept, int) else None


def after_runs(
    health: ServiceHealth, runs: Runs, probe: Probe, now_s: float
) -> tuple[ServiceHealth, tuple[str, ...]]:
    """`health` with what runs did that the table was not told, and the changes in words. Pure."""
    changes: list[str] = []
    for signal in signals(health, runs):
        health, words = told(health, signal, now_s, probe)
        changes += words
    return health, tuple(changes)


def tell_runs(
    memory: Memory,
    service: str,
    *,
    open_run: RunRecord | None,
    role: RoleRecord | None,
    primary: str,
    probe: Probe,
    clock: Clock,
) -> tuple[str, ...]:
    """Moves this machine's table by what runs did since the last round; the changes in words."""
    epoch = told_epoch(memory, service)
    before = health_from(memory.recall(f"health/{service}"))
    runs = Runs(open_run, role, epoch, primary)
    health, changes = after_runs(before, runs, probe, clock.elapsed_s())
    if health != before:
        memory.remember(f"health/{service}", health_json(health))
    if open_run is None:
        memory.remember(f"told/{service}", role.epoch if role else 0)
    elif epoch is None:  # what was recorded before this run
        moved = role is not None and role.run_id == open_run.id
        memory.remember(f"told/{service}", role.epoch - moved if role else 0)
    return changes
