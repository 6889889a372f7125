"""What a prune would do now: read without a lock, nothing is written anywhere."""

from __future__ import annotations

from drkit.errors import GuardRefused
from drkit.events import Emit, Note
from drkit.repository.format.layout import SNAPSHOTS
from drkit.repository.format.snapshot import read_snapshot
from drkit.repository.levels.catch_up import trust
from drkit.repository.levels.survey import list_stores, survey
from drkit.repository.prune.consolidate import refuse_partial_index
from drkit.repository.prune.decision import decide
from drkit.repository.prune.prune import PruneOptions, PruneReport
from drkit.repository.prune.turns import next_turn
from drkit.repository.records.prune_plan import PrunePlan
from drkit.repository.repository import Repository
from drkit.repository.trees.reach import reachable


def preview(repository: Repository, options: PruneOptions, emit: Emit) -> PruneReport:
    """The report of a prune that marks now, or the next turn of the one that is under way."""
    seen = survey(repository, list_stores(repository, emit), emit)
    for name, reason in repository.unreachable.items():
        emit(Note("warning", name, f"{reason}: nothing is deleted anywhere until it is back"))
    roles = {n: role for n, role in options.roles.items() if n not in seen.tombstones.evicted}
    if seen.plan.plan is not None:
        plan = seen.plan.plan
        return PruneReport(
            problems=plan.halted, next_turn=next_turn(plan, roles, hold=options.hold)
        )
    good = {s: found for s, found in seen.listings.items() if not seen.standings[s.name].diverged}
    if not good:
        raise GuardRefused("no store can be pruned", hint="drkit status says why")
    trust(repository, good, seen.plan, emit)
    refuse_partial_index(repository)
    snapshots = {
        snapshot
        for store, listing in good.items()
        for snapshot in listing.snapshots
        if snapshot not in seen.standings[store.name].pending
    }
    content = [repository.load_unpacked(SNAPSHOTS + snapshot) for snapshot in sorted(snapshots)]
    used = reachable([read_snapshot(one).tree for one in content], repository.load_tree)
    erased = seen.tombstones.erased_packs
    decision = decide(repository.index.packs, used, options.limits, erased)
    repository.forget_index()
    marked = sum(decision.marked.values())
    plan = PrunePlan(0, repository.clock.now(), "", decision.marked)
    turn = next_turn(plan, roles, hold=options.hold) if marked else None
    return PruneReport(decision, marked, next_turn=turn)
