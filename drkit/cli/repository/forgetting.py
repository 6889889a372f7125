"""What forget, prune and reconcile plan and answer: the deployment's rules in, words out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drkit.cli.repository.keep_rules import configured_rules
from drkit.errors import ConfigError, MissingCredential, NeedsOperator
from drkit.events import Note
from drkit.operations.deletion.forget import ForgetPlan, plan_by_ids, plan_by_rules
from drkit.operations.deletion.prune import checker
from drkit.repository.backup.anomaly import unacknowledged
from drkit.repository.forget.forget import ForgetReport, forget_snapshots
from drkit.repository.forget.retention import KeepRules
from drkit.repository.heal.reconcile import ReconcilePlan
from drkit.repository.prune.decision import PruneLimits
from drkit.repository.prune.prune import PruneOptions, PruneReport
from drkit.repository.repository import Repository
from drkit.repository.trees.select import GroupKey, SnapshotFilter, choose_all
from drkit.units import format_bytes

if TYPE_CHECKING:
    from drkit.wiring import App


def plan_forget(
    app: App,
    selectors: Sequence[str],
    typed: KeepRules,
    wanted: SnapshotFilter,
    group_by: Sequence[GroupKey],
    only_stores: Sequence[str],
    *,
    may_remove_all: bool,
) -> ForgetPlan:
    """The plan of what was typed. Raises `NeedsOperator` while an anomaly holds expiry."""
    every = frozenset(app.config.stores)
    if unknown := set(only_stores) - every:
        raise ConfigError(
            f"there is no store {min(unknown)!r}", hint=f"there are {', '.join(sorted(every))}"
        )
    names = frozenset(only_stores) or every
    snapshots = app.repository.snapshots()
    if selectors:
        if not typed.empty:
            raise ConfigError(
                "keep-rules have no effect where snapshots are named",
                hint="name the snapshots, or give rules; not both",
            )
        return plan_by_ids(choose_all(snapshots, selectors, wanted), names, every)
    if held := unacknowledged(app.repository, snapshots):
        ids = ", ".join(listed.id[:8] for listed in held)
        raise NeedsOperator(
            f"expiry is held: {len(held)} points look like an accident or an attack ({ids})",
            hint="look at them, then: drkit ack POINT",
        )
    if typed.empty:
        rules = {
            name: configured_rules(store.keep)
            for name, store in app.config.stores.items()
            if name in names
        }
        now = app.clock.now()
        return plan_by_rules(
            snapshots, rules, now, wanted=wanted, group_by=(), points_only=True
        ).over(every)
    return plan_by_rules(
        snapshots,
        dict.fromkeys(sorted(names), typed),
        app.clock.now(),
        wanted=wanted,
        group_by=group_by,
        points_only=False,
        may_remove_all=may_remove_all,
    ).over(every)


def forget_by_config(app: App) -> str:
    """Forgets what the configured rules drop, in words; an anomaly that holds expiry is told."""
    try:
        plan = plan_forget(app, (), KeepRules(), SnapshotFilter(), (), (), may_remove_all=False)
    except NeedsOperator as held:
        app.emit(Note("warning", "forget", f"{held.message}; {held.hint}"))
        return held.message
    if not plan.doomed:
        return "no snapshot has expired"
    return forget_text(forget_snapshots(app.repository, plan.doomed, app.emit))


def open_source(
    app: App,
    repo: Path | None,
    config: Path | None,
    store: str | None,
    password_file: Path | None,
) -> Repository:
    """The repository to copy from: exactly one was named."""
    from drkit.wiring.foreign import open_folder_repository, open_one_store, open_other_deployment

    if sum(option is not None for option in (repo, config, store)) != 1:
        raise ConfigError(
            "name one place to copy from", hint="--from-repo, --from-config or --from-store"
        )
    if repo is not None:
        return open_folder_repository(app, repo, _from_password(password_file))
    if config is not None:
        return open_other_deployment(app, config)
    assert store is not None
    return open_one_store(app, store)


def _from_password(file: Path | None) -> str:
    named = file or os.environ.get("RESTIC_FROM_PASSWORD_FILE")
    if named:
        try:
            return Path(named).read_text().splitlines()[0]
        except (OSError, IndexError, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it holds no line of text"
            raise ConfigError(
                f"{named}: no password can be read: {why}", hint="its first line is the password"
            ) from None
    if found := os.environ.get("RESTIC_FROM_PASSWORD"):
        return found
    raise MissingCredential(
        "the password of the other repository is not known",
        hint="give --from-password-file, or set RESTIC_FROM_PASSWORD",
    )


def forget_rows(plan: ForgetPlan, *, long_ids: bool) -> list[dict[str, Any]]:
    """One row a snapshot: why which stores keep it, and where it goes."""
    rows = []
    for fate in plan.fates:
        snapshot = fate.listed.snapshot
        going = fate.removed_from & fate.listed.stores
        reasons: dict[tuple[str, ...], list[str]] = {}
        for store, found in fate.kept.items():
            reasons.setdefault(found, []).append(store)
        same = len(reasons) == 1 and not fate.removed_from
        words = [
            ", ".join(found) if same else f"{'+'.join(stores)}: {', '.join(found)}"
            for found, stores in reasons.items()
        ]
        rows.append(
            {
                "id": fate.listed.id if long_ids else fate.listed.id[:8],
                "time": f"{snapshot.time:%Y-%m-%d %H:%M:%S}",
                "host": snapshot.hostname,
                "tags": ",".join(snapshot.tags),
                "keep": {s: list(r) for s, r in fate.kept.items()}
                if long_ids
                else "; ".join(words),
                "remove": sorted(going) if long_ids else ", ".join(sorted(going)),
            }
        )
    return rows


def forget_text(report: ForgetReport) -> str:
    lines = [
        f"{len(ids)} snapshots removed from {name}" for name, ids in report.removed.items() if ids
    ]
    lines += [f"{name} retains {len(ids)}" for name, ids in report.retained.items() if ids]
    lines += [f"{name} applies it later: {why}" for name, why in report.pending.items()]
    return "\n".join(lines) or "nothing was removed"


def prune_options(
    app: App, *, max_unused: float = 0.05, max_repack_mib: int | None = None
) -> PruneOptions:
    """Roles, limits and checker of the deployment."""
    limits = PruneLimits(max_unused=max_unused)
    if max_repack_mib is not None:
        limits = PruneLimits(max_unused=max_unused, max_repack_bytes=max_repack_mib << 20)
    roles = {name: store.role for name, store in app.config.stores.items()}
    return PruneOptions(roles, checker(app.password, app.state_dir / "cache" / "restic"), limits)


def prune_values(report: PruneReport) -> dict[str, Any]:
    decision = report.decision
    return {
        "marked_bytes": report.marked_bytes,
        "removed_packs": len(decision.remove) if decision else 0,
        "repacked_packs": len(decision.repack) if decision else 0,
        "used_bytes": decision.used_bytes if decision else None,
        "unused_bytes": decision.unused_bytes if decision else None,
        "deleted_bytes": dict(report.deleted),
        "problems": list(report.problems),
        "next_store": report.next_turn[0] if report.next_turn else None,
        "next_at": report.next_turn[1].isoformat() if report.next_turn else None,
    }


def prune_text(report: PruneReport) -> str:
    lines = []
    if report.decision is not None:
        found = report.decision
        lines.append(
            f"{len(found.remove)} packs are unused, {len(found.repack)} partly used or small; "
            f"{format_bytes(report.marked_bytes)} marked, {format_bytes(found.used_bytes)} in use"
        )
    lines += [f"{format_bytes(size)} deleted from {name}" for name, size in report.deleted.items()]
    lines += [f"NOTHING MORE IS DELETED: {problem}" for problem in report.problems]
    if report.next_turn is not None:
        store, at = report.next_turn
        lines.append(f"next: {store}, not before {at:%Y-%m-%d %H:%M} UTC")
    return "\n".join(lines) or "nothing to prune"


def reconcile_values(plan: ReconcilePlan) -> dict[str, Any]:
    return {
        "store": plan.store,
        "reason": plan.reason,
        "bring_back": sorted(plan.bring_back),
        "own": sorted(plan.own),
        "own_is": plan.own_is,
        "to_store_bytes": sum(plan.to_store.values()),
        "to_others_bytes": sum(plan.to_others.values()),
        "left_over_bytes": sum(plan.left_over.values()),
    }


def reconcile_text(plan: ReconcilePlan, *, done: bool) -> str:
    size = {
        "to": format_bytes(sum(plan.to_store.values())),
        "from": format_bytes(sum(plan.to_others.values())),
        "left": format_bytes(sum(plan.left_over.values())),
    }
    lines = [
        f"{plan.store}: {plan.reason or 'stands as the others'}",
        f"  {len(plan.to_store)} packs ({size['to']}) are copied to it",
        f"  {len(plan.to_others)} packs ({size['from']}) are copied from it to the others",
        f"  {len(plan.left_over)} packs ({size['left']}) of its own stay for the next prune",
    ]
    lines += [f"  brought back there: {snapshot[:8]}" for snapshot in sorted(plan.bring_back)]
    what = {"spread": "copied to the others", "remove": "REMOVED", None: "to be decided: --own"}
    lines += [f"  only there: {s[:8]}: {what[plan.own_is]}" for s in sorted(plan.own)]
    lines.append("done" if done else "nothing was done; add --apply")
    return "\n".join(lines)
