"""The commands that delete, and what keeps stores the same: forget, prune, copy, unlock."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from drkit.cli.apps import opened
from drkit.cli.options import command
from drkit.cli.repository.selection import Hosts, Paths, Snapshots, Tags
from drkit.cli.session import Session
from drkit.errors import GuardRefused

if TYPE_CHECKING:
    from drkit.operations.deletion.forget import ForgetPlan
    from drkit.repository.forget.forget import ForgetReport
    from drkit.repository.forget.retaining import Renewed
    from drkit.repository.prune.prune import PruneOptions, PruneReport
    from drkit.wiring import App

app = typer.Typer()
repair_app = typer.Typer(
    no_args_is_help=True, help="Mend what a check found, or a store that stands apart."
)

Count = Annotated[str | None, typer.Option(metavar="N", help="The newest N; or unlimited.")]
Within = Annotated[
    str | None, typer.Option(metavar="1y5m7d2h", help="Back from the newest; m are months.")
]
StoreNames = Annotated[list[str] | None, typer.Option("--store", help="Only there; repeatable.")]


@command(app, changes=True, locks=True)
def forget(
    session: Session,
    snapshots: Snapshots = None,
    keep_last: Count = None,
    keep_hourly: Count = None,
    keep_daily: Count = None,
    keep_weekly: Count = None,
    keep_monthly: Count = None,
    keep_yearly: Count = None,
    keep_within: Within = None,
    keep_within_hourly: Within = None,
    keep_within_daily: Within = None,
    keep_within_weekly: Within = None,
    keep_within_monthly: Within = None,
    keep_within_yearly: Within = None,
    keep_tag: Annotated[
        list[str] | None, typer.Option(help="All with all of these tags: a,b; repeated: or.")
    ] = None,
    host: Hosts = None,
    tag: Tags = None,
    path: Paths = None,
    group_by: Annotated[
        str, typer.Option("--group-by", help="With --keep-*: each group by itself.")
    ] = "host,paths",
    store: StoreNames = None,
    unsafe_allow_remove_all: Annotated[
        bool,
        typer.Option(
            "--unsafe-allow-remove-all", help="With a filter: rules may leave nothing of a group."
        ),
    ] = False,
) -> int:
    """Removes snapshots: those that are named, or those that no rule keeps.

    Without --keep-* each store's own `keep` decides, about drkit's points only. Data goes with
    `drkit prune`.
    """
    from drkit.cli.repository.forgetting import plan_forget
    from drkit.cli.repository.keep_rules import typed_rules
    from drkit.repository.forget.forget import forget_snapshots
    from drkit.repository.trees.select import read_filter, read_group_keys

    typed = typed_rules(
        {
            "last": keep_last,
            "hourly": keep_hourly,
            "daily": keep_daily,
            "weekly": keep_weekly,
            "monthly": keep_monthly,
            "yearly": keep_yearly,
        },
        {
            "": keep_within,
            "hourly": keep_within_hourly,
            "daily": keep_within_daily,
            "weekly": keep_within_weekly,
            "monthly": keep_within_monthly,
            "yearly": keep_within_yearly,
        },
        keep_tag,
    )
    wanted = read_filter(host, tag, path)
    with opened(session) as app:
        plan = plan_forget(
            app,
            tuple(snapshots or ()),
            typed,
            wanted,
            read_group_keys(group_by),
            tuple(store or ()),
            may_remove_all=unsafe_allow_remove_all and bool(str(wanted)),
        )
        _show(session, plan)
        if session.dry_run or not plan.doomed:
            session.terminal.result("forget", {"removed": {}}, "nothing was removed")
            return 0
        report = forget_snapshots(app.repository, plan.doomed, app.emit)
    _tell_forgotten(session, report)
    return 3 if report.pending or any(report.retained.values()) else 0


def _tell_forgotten(session: Session, report: ForgetReport) -> None:
    from drkit.cli.repository.forgetting import forget_text

    values = {
        "removed": {name: sorted(ids) for name, ids in report.removed.items()},
        "retained": {name: sorted(ids) for name, ids in report.retained.items()},
        "pending": dict(report.pending),
    }
    session.terminal.result("forget", values, forget_text(report))


def _show(session: Session, plan: ForgetPlan) -> None:
    from drkit.cli.repository.forgetting import forget_rows

    columns = ("id", "time", "host", "tags", "keep", "remove")
    session.terminal.table("fate", columns, forget_rows(plan, long_ids=session.json_lines))


@command(app, changes=True, locks=True)
def prune(
    session: Session,
    now: Annotated[
        bool,
        typer.Option(
            "--now",
            help="Delete in the first store at once. The days between stores stay as they are.",
        ),
    ] = False,
    evict: Annotated[
        str | None, typer.Option(metavar="STORE", help="This store will not be back: go on.")
    ] = None,
    forget: Annotated[
        bool, typer.Option("--forget", help="First forget what each store's keep-rules drop.")
    ] = False,
    max_unused: Annotated[
        float, typer.Option(min=0, max=100, help="Percent that may stay unused in kept packs.")
    ] = 5.0,
    max_repack_size: Annotated[
        int | None, typer.Option(min=0, metavar="MIB", help="Write at most so much anew.")
    ] = None,
) -> int:
    """Frees what no snapshot of any store reaches: marked first, deleted store after store.

    Run it daily: it does what is due. Nothing is deleted while a store is missing.
    """
    from datetime import timedelta

    from drkit.cli.repository.forgetting import forget_by_config, prune_options
    from drkit.repository.prune.preview import preview
    from drkit.repository.prune.prune import evict as evict_store

    renewed: Mapping[str, Renewed] = {}
    with opened(session) as app:
        options = prune_options(app, max_unused=max_unused / 100, max_repack_mib=max_repack_size)
        if now:
            from dataclasses import replace

            options = replace(options, hold=timedelta(0))
        if session.dry_run:
            report = preview(app.repository, options, app.emit)
        else:
            if evict is not None:
                app.store(evict)
                evict_store(app.repository, evict, app.emit)
            if forget:
                removed = forget_by_config(app)
                session.terminal.result("forget", {"said": removed}, removed)
            report, renewed = _prune_and_renew(app, options)
    _tell_pruned(session, report, renewed)
    if report.problems:
        return 22
    return 3 if any(one.failed for one in renewed.values()) else 0


def _prune_and_renew(app: App, options: PruneOptions) -> tuple[PruneReport, Mapping[str, Renewed]]:
    """Locks are renewed also when the prune was refused: a store may be away for weeks, and those
    of the others must not end.
    """
    from drkit.repository.forget.retaining import renew_locks
    from drkit.repository.prune.prune import prune as run_prune

    try:
        report = run_prune(app.repository, options, app.emit)
    except GuardRefused:
        renew_locks(app.repository, now=app.clock.now(), emit=app.emit)
        raise
    return report, renew_locks(app.repository, now=app.clock.now(), emit=app.emit)


def _tell_pruned(session: Session, report: PruneReport, renewed: Mapping[str, Renewed]) -> None:
    from drkit.cli.repository.forgetting import prune_text, prune_values

    counts = {name: one.renewed for name, one in renewed.items()}
    words = prune_text(report)
    for name, count in counts.items():
        words += f"\n  {name}: {count} locks of what is in use renewed"
    session.terminal.result("prune", {**prune_values(report), "locks_renewed": counts}, words)


@command(app, changes=True, locks=True)
def copy(
    session: Session,
    snapshots: Snapshots = None,
    from_repo: Annotated[
        Path | None, typer.Option(help="A folder that holds a restic repository.")
    ] = None,
    from_config: Annotated[
        Path | None, typer.Option(help="The schedules.yaml of another deployment.")
    ] = None,
    from_store: Annotated[
        str | None, typer.Option(help="One store of this deployment, taken by itself.")
    ] = None,
    from_password_file: Annotated[
        Path | None, typer.Option(help="With --from-repo; or RESTIC_FROM_PASSWORD.")
    ] = None,
    host: Hosts = None,
    tag: Tags = None,
    path: Paths = None,
) -> int:
    """Copies snapshots of another repository into every store of this one."""
    from drkit.cli.repository.forgetting import open_source
    from drkit.repository.copy import copy_snapshots
    from drkit.repository.trees.select import choose_all, read_filter
    from drkit.units import format_bytes

    with opened(session) as app:
        source = open_source(app, from_repo, from_config, from_store, from_password_file)
        chosen = choose_all(source.snapshots(), snapshots or (), read_filter(host, tag, path))
        if session.dry_run:
            for listed in chosen:
                values = {"snapshot": listed.id, "hostname": listed.snapshot.hostname}
                would = f"would copy {listed.id[:8]} ({listed.snapshot.hostname})"
                session.terminal.result("would_copy", values, would)
            return 0
        report = copy_snapshots(
            source, app.repository, chosen, min_copies=app.config.min_copies, emit=app.emit
        )
    words = [f"{old[:8]} copied as {new[:8]}" for old, new in report.copied.items()]
    words += [f"{old[:8]} was there already" for old in report.already]
    words.append(f"{format_bytes(report.bytes_added)} added to each store")
    session.terminal.result(
        "copy",
        {
            "copied": report.copied,
            "already": list(report.already),
            "bytes_added": report.bytes_added,
        },
        "\n".join(words),
    )
    return 0


@command(app)
def unlock(
    session: Session,
    remove_all: Annotated[
        bool, typer.Option("--remove-all", help="Also locks that seem to be in use.")
    ] = False,
) -> int:
    """Removes locks that dead processes left, in every store."""
    from drkit.repository.locks.locks import unlock as remove_locks

    with opened(session) as app:
        removed = remove_locks(app.repository, remove_all=remove_all, emit=app.emit)
        missing = [found.name for found in app.repository.stores if found.name not in removed]
    words = ", ".join(f"{count} from {name}" for name, count in removed.items())
    session.terminal.result("unlock", {"removed": removed}, f"locks removed: {words or 'none'}")
    return 3 if missing else 0


@command(repair_app, changes=True, locks=True)
def reconcile(
    session: Session,
    store: Annotated[str, typer.Argument(help="The store that stands apart.")],
    own: Annotated[
        Literal["spread", "remove"] | None,
        typer.Option(help="What becomes of snapshots that only this store has."),
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Do it; without, the plan is shown only.")
    ] = False,
) -> int:
    """Makes a diverged or evicted store one of the others again."""
    from drkit.cli.repository.forgetting import reconcile_text, reconcile_values
    from drkit.repository.heal.reconcile import plan_reconcile
    from drkit.repository.heal.reconcile import reconcile as run_reconcile

    with opened(session) as app:
        app.store(store)
        does = apply and not session.dry_run
        plan = (run_reconcile if does else plan_reconcile)(app.repository, store, own, app.emit)
    session.terminal.result(
        "reconcile", {**reconcile_values(plan), "done": does}, reconcile_text(plan, done=does)
    )
    return 0
