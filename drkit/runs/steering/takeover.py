"""A run of another machine becomes this one's (R3): found in the stores, claimed on the arbiter.

The lease of the service comes first, so that whoever had the run can do nothing meanwhile. Under it
the journal is read once more, and whether it is all there: only then does the arbiter record whose
the run is, for what is recorded sends the other machine here. Then the journal is kept here. Killed
between any two of these, the same again brings it to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from drkit.clock import Clock
from drkit.coordination.interface import Arbiter, RoleRecord
from drkit.errors import ConfigError, NeedsOperator
from drkit.runs.journal.journal import Journal
from drkit.runs.journal.sealed import SealedRun
from drkit.runs.lease import LEASE_TTL_S, RENEWAL_S, KeptLease, local_to, owner_key, owner_of
from drkit.runs.records import JSON, EntryKind, RunRecord, RunState, StepState
from drkit.runs.states import replay
from drkit.runs.steering.retarget import begin_anew_here

_UNDOES = (
    RunState.ROLLING_BACK,
    RunState.ROLLBACK_FAILED,
    RunState.EVIDENCE,
    RunState.TEARDOWN,
)
Read = Callable[[], SealedRun | None]


def take_over(
    journal: Journal,
    read: Read,
    *,
    arbiter: Arbiter,
    holder: str,
    clock: Clock,
    who: str,
    ttl_s: float = LEASE_TTL_S,
    shared: bool = False,
    run_id: str | None = None,
) -> RunRecord:
    """The run, in this machine's journal and owned by it. `read` reads it from the stores; or, if
    the state is `shared` with the other machine, from there, where all of it is. `run_id`: its own
    journal counts on the machine that the run is of, where no store knows of a later owner.

    Raises `LeaseHeld` when a process still executes it elsewhere, `NeedsOperator` when it is
    local-only, `ConfigError` when no store knows it, `DamagedData`, `ArbiterUnreachable`.
    """
    known = partial(_known, journal, read, holder.partition("/")[0], run_id, shared)
    found = _takeable(known(), arbiter, holder)
    key = found.plan.service_key
    with KeptLease(arbiter, key, holder, clock, ttl_s=ttl_s, patience_s=ttl_s + RENEWAL_S):
        found = _takeable(known(), arbiter, holder)  # nobody does anything for it any more
        generation = _own(arbiter, found.run, holder, clock, ttl_s)
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


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of the run. `kept`: by this machine, which knows all of it but what a later
    owner did.
    """

    found: SealedRun | None
    shared: bool
    kept: bool = False


def _known(journal: Journal, read: Read, here: str, run_id: str | None, shared: bool) -> _Known:
    found = read()
    own = next((run for run in journal.runs() if run.id == run_id and run.machine == here), None)
    if own is None or shared or (found is not None and found.run.generation > own.generation):
        return _Known(found, shared)
    return _Known(kept_run(journal, own.id), shared, kept=True)


def kept_run(journal: Journal, run_id: str) -> SealedRun:
    """All that this state has of the run."""
    return SealedRun(journal.run(run_id), journal.plan(run_id), tuple(journal.entries(run_id)))


def _takeable(known: _Known, arbiter: Arbiter, holder: str) -> SealedRun:
    found = known.found
    if found is None:
        raise ConfigError("no store that answers knows that run", hint="drkit runs list --remote")
    if known.shared:
        return found
    alone = local_to(arbiter, found.run.id)
    if alone not in (None, holder) or (not known.kept and (alone or found.run.local_only)):
        machine = alone.partition("/")[0] if alone is not None else found.run.machine
        raise NeedsOperator(
            f"run {found.run.id} is local-only: a store lacked what it was about to do, so that "
            f"only {machine} knows what it did",
            hint=f"resume it there; if {machine} is gone for good, look at the provider "
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
