"""A run of another machine becomes this one's (R3): found in the stores, claimed on the arbiter.

The lease of the service comes first, so that whoever had the run can do nothing meanwhile; then
the arbiter records whose it is; then the journal is read and kept here. Killed between any two of
these, the same again brings it to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from drkit.clock import Clock
from drkit.coordination.interface import Arbiter, RoleRecord
from drkit.errors import ConfigError, NeedsOperator
from drkit.runs.journal.journal import Journal
from drkit.runs.journal.sealed import SealedRun
from drkit.runs.lease import LEASE_TTL_S, KeptLease, owner_key, owner_of
from drkit.runs.records import JSON, EntryKind, RunRecord, RunState, StepState
from drkit.runs.states import replay
from drkit.runs.steering.retarget import begin_anew_here

_UNDOES = (
    RunState.ROLLING_BACK,
    RunState.ROLLBACK_FAILED,
    RunState.EVIDENCE,
    RunState.TEARDOWN,
)
PATIENCE_S = 5.0
"""How much longer than its time a lease is waited for, in which its holder may renew it."""


def take_over(
    journal: Journal,
    read: Callable[[], SealedRun | None],
    *,
    arbiter: Arbiter,
    holder: str,
    clock: Clock,
    who: str,
    ttl_s: float = LEASE_TTL_S,
    shared: bool = False,
) -> RunRecord:
    """The run, in this machine's journal and owned by it. `read` reads it from the stores; or, if
    the state is `shared` with the other machine, from there, where all of it is.

    Raises `LeaseHeld` when a process still executes it elsewhere, `NeedsOperator` when it is
    local-only, `ConfigError` when no store knows it, `DamagedData`, `ArbiterUnreachable`.
    """
    found = _takeable(read(), shared)
    key = found.plan.service_key
    with KeptLease(arbiter, key, holder, clock, ttl_s=ttl_s, patience_s=ttl_s + PATIENCE_S):
        generation = _own(arbiter, found.run, holder, clock, ttl_s)
        found = _takeable(read(), shared)  # nobody adds to it any more
        steps = replay(found.entries, [step.id for step in found.plan.steps])
        unknown = [name for name, step in steps.items() if step.state is StepState.INTENT]
        over = found.run.state.ended or found.run.outcome is not None
        walks = not over and found.run.state not in _UNDOES
        anew = begin_anew_here(found.plan, steps) if walks else []
        here = holder.partition("/")[0]
        said: Mapping[str, JSON] = {
            "taken_over": {"from": found.run.machine, "to": here, "generation": generation},
            "former_holder": True,  # also if it gave the lease back: a killed takeover cannot know
            "who": who,
            "text": f"taken over by {who} on {here} from {found.run.machine}",
        }
        notes: list[tuple[EntryKind, Mapping[str, JSON]]] = [
            ("resumed", {"pid": None, "unknown": unknown}),
            ("note", said),
        ]
        if anew:
            why = f"what they left lies on {found.run.machine}"
            notes.append(("replanned", {"reset": anew, "why": why}))
        return journal.adopt(found, generation, notes)


def _takeable(found: SealedRun | None, shared: bool) -> SealedRun:
    if found is None:
        raise ConfigError("no store that answers knows that run", hint="drkit runs list --remote")
    if found.run.local_only and not shared:
        raise NeedsOperator(
            f"run {found.run.id} is local-only: a store lacked what it was about to do, so that "
            f"only {found.run.machine} knows what it did",
            hint=f"resume it there; if {found.run.machine} is gone for good, look at the provider "
            f"for what carries the tag drkit-run={found.run.id}, and fail over anew",
        )
    return found


def _own(arbiter: Arbiter, run: RunRecord, holder: str, clock: Clock, ttl_s: float) -> int:
    """How often the run was taken over, with this time; recorded for all to see."""
    owner = owner_of(arbiter, run.id)
    if owner is not None and owner.site == holder:
        return owner.epoch
    generation = max(owner.epoch if owner else 0, run.generation) + 1
    lease = arbiter.acquire(owner_key(run.id), holder, ttl_s=ttl_s)
    record = RoleRecord(owner_key(run.id), generation, holder, None, clock.now(), run.id)
    arbiter.record_role(lease, record)
    arbiter.release(lease)
    return generation
