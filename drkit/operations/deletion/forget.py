"""What the keep-rules leave of the snapshots, store by store, and why: a plan that is then applied.

Rules of the configuration are about drkit's points, in each store by its own; rules that are typed
are restic's, over groups of snapshots, in every store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from drkit.errors import GuardRefused
from drkit.points.find import TAG
from drkit.repository.backup.anomaly import INCOMPLETE_TAG
from drkit.repository.forget.retention import KeepRules, judge
from drkit.repository.repository import ListedSnapshot
from drkit.repository.trees.select import GroupKey, SnapshotFilter, group


@dataclass(frozen=True, slots=True)
class Fate:
    """One snapshot: why stores keep it (store name to reasons), and from which it is removed."""

    listed: ListedSnapshot
    kept: Mapping[str, tuple[str, ...]]
    removed_from: frozenset[str]


@dataclass(frozen=True, slots=True)
class ForgetPlan:
    """The fate of every snapshot that the rules are about, newest first.

    `doomed` names the stores that each one goes from; None: from every store, for good.
    """

    fates: tuple[Fate, ...]
    stores: frozenset[str]

    def over(self, every_store: frozenset[str]) -> ForgetPlan:
        """The same plan in a deployment of `every_store`: what goes from some goes not for good."""
        return replace(self, stores=every_store)

    @property
    def doomed(self) -> dict[str, frozenset[str] | None]:
        return {
            fate.listed.id: None if fate.removed_from >= self.stores else fate.removed_from
            for fate in self.fates
            if fate.removed_from
        }


def plan_by_rules(
    snapshots: Sequence[ListedSnapshot],
    rules: Mapping[str, KeepRules],
    now: datetime,
    *,
    wanted: SnapshotFilter,
    group_by: Sequence[GroupKey],
    points_only: bool,
    may_remove_all: bool = False,
) -> ForgetPlan:
    """What `rules` (by store) leave. A store that lags is judged as if it were level.

    Raises `GuardRefused` when a store's rules would leave nothing of a group.
    """
    about = [
        listed
        for listed in snapshots
        if wanted.matches(listed.snapshot) and (TAG in listed.snapshot.tags or not points_only)
    ]
    groups = [found.snapshots for found in group(about, group_by)] if about else []
    kept: dict[str, dict[str, tuple[str, ...]]] = {listed.id: {} for listed in about}
    for store, keep in rules.items():
        for members in groups:
            verdicts = judge(members, keep, now)
            reasons = {verdict.listed.id: verdict.reasons for verdict in verdicts}
            if points_only and (newest := _newest_whole(members)):
                reasons[newest.id] += () if reasons[newest.id] else ("newest whole point",)
            if not any(reasons.values()) and not may_remove_all:
                raise GuardRefused(
                    f"the rules would remove all {len(members)} snapshots of a group from {store}",
                    hint="give a rule that keeps some, or --unsafe-allow-remove-all with a filter",
                )
            for snapshot_id, found in reasons.items():
                if found:
                    kept[snapshot_id][store] = found
    fates = [
        Fate(listed, kept[listed.id], frozenset(rules) - kept[listed.id].keys()) for listed in about
    ]
    fates.sort(key=lambda fate: fate.listed.order, reverse=True)
    return ForgetPlan(tuple(fates), frozenset(rules))


def plan_by_ids(
    chosen: Sequence[ListedSnapshot], from_stores: frozenset[str], every_store: frozenset[str]
) -> ForgetPlan:
    """Removes exactly the snapshots that were named."""
    return ForgetPlan(tuple(Fate(one, {}, from_stores) for one in chosen), every_store)


def _newest_whole(members: Sequence[ListedSnapshot]) -> ListedSnapshot | None:
    whole = [listed for listed in members if INCOMPLETE_TAG not in listed.snapshot.tags]
    return max(whole, key=lambda listed: listed.order, default=None)
