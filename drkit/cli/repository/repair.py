"""repair index, packs, snapshots and config: what `check --repair` cannot mend from another store.

`drkit check --repair` comes first: it copies what some store still has. These work with what is
left when no store has it, show what they would do with --dry-run, and delete nothing.
"""

from __future__ import annotations

from typing import Annotated

import typer

from drkit.cli.apps import opened
from drkit.cli.options import command
from drkit.cli.repository.nodes import tell_lost
from drkit.cli.repository.selection import Hosts, Paths, Snapshots, Tags
from drkit.cli.session import Session

app = typer.Typer()


@command(app, "index", changes=True, locks=True)
def index(
    session: Session,
    read_all_packs: Annotated[
        bool, typer.Option("--read-all-packs", help="Believe no index: read every pack's header.")
    ] = False,
    store: Annotated[
        list[str] | None, typer.Option("--store", help="Only there; repeatable.")
    ] = None,
) -> int:
    """Makes indexes anew from the headers of the packs that are there."""
    from drkit.repository.heal.rebuild_index import repair_index

    with opened(session) as app:
        for name in store or ():
            app.store(name)  # refuses a name that is none
        plans = repair_index(
            app.repository,
            app.emit,
            read_all_packs=read_all_packs,
            only=frozenset(store or ()),
            dry_run=session.dry_run,
        )
    would = "would be " if session.dry_run else ""
    for name, plan in plans.items():
        values = {
            "store": name,
            "added": sorted(plan.added),
            "dropped": plan.dropped,
            "bad_indexes": plan.bad_indexes,
            "bad_packs": plan.bad_packs,
            "dry_run": session.dry_run,
        }
        lines = [f"{name}: {'nothing to do' if not plan.changes else ''}".rstrip()]
        if plan.added:
            lines.append(f"  {len(plan.added)} packs that no index named {would}added")
        lines += [f"  index {i[:8]} {would}removed: {why}" for i, why in plan.bad_indexes.items()]
        lines += [f"  pack {p[:8]} {would}named no more: {why}" for p, why in plan.dropped.items()]
        lines += [f"  pack {p[:8]} cannot be read: {why}" for p, why in plan.bad_packs.items()]
        session.terminal.result("repaired_index", values, "\n".join(lines))
    return 3 if any(plan.bad_packs or plan.dropped for plan in plans.values()) else 0


@command(app, "packs", changes=True, locks=True)
def packs(
    session: Session,
    pack: Annotated[
        list[str] | None, typer.Argument(help="Starts of pack ids; default: all are read.")
    ] = None,
) -> int:
    """Saves what is left of packs that no store has whole, and makes no index name them.

    Says exactly which files are lost. The damaged packs stay in the stores until a prune.
    """
    from drkit.repository.check.check import check_repository
    from drkit.repository.check.reading_choice import ReadAll
    from drkit.repository.heal.salvage import damaged_packs, named_packs, repair_packs

    with opened(session) as app:
        repository = app.repository
        if pack:
            damaged = named_packs(repository, pack)
        else:
            report = check_repository(repository, reading=ReadAll(), emit=app.emit)
            tell_lost(session, report.lost)
            damaged = damaged_packs(repository, report)
        done = repair_packs(repository, damaged, app.emit, dry_run=session.dry_run)
    would = "would be " if session.dry_run else ""
    for each in done:
        session.terminal.result(
            "repaired_pack",
            {"pack": each.pack, "saved": each.saved, "lost": [b.hex() for b in each.lost]},
            f"pack {each.pack[:8]}: {each.saved} blobs {would}saved, {len(each.lost)} are lost",
        )
    if not done:
        session.terminal.say("no pack is damaged in every store")
    elif not session.dry_run:
        session.terminal.say("now leave the losses out of the snapshots: drkit repair snapshots")
    return 22 if any(each.lost for each in done) else 0


@command(app, "snapshots", changes=True, locks=True)
def snapshots(
    session: Session,
    snapshot: Snapshots = None,
    forget: Annotated[
        bool, typer.Option("--forget", help="Remove the old ones from every store, for good.")
    ] = False,
    host: Hosts = None,
    tag: Tags = None,
    path: Paths = None,
) -> int:
    """Writes snapshots anew without what no index names any more, tagged `repaired`.

    A file keeps the parts that are left; a folder whose list is lost is empty. The old snapshots
    stay unless --forget is given.
    """
    from drkit.repository.forget.forget import forget_snapshots
    from drkit.repository.heal.salvage import losses, repair_snapshots
    from drkit.repository.trees.select import choose_all, read_filter

    with opened(session) as app:
        repository = app.repository
        among = choose_all(repository.snapshots(), snapshot or (), read_filter(host, tag, path))
        tell_lost(session, losses(repository, among))
        new_ids = repair_snapshots(repository, among, app.emit, dry_run=session.dry_run)
        if forget and new_ids and not session.dry_run:
            forget_snapshots(repository, dict.fromkeys(new_ids), app.emit)
    for old, new in new_ids.items():
        words = f"{old[:8]} is now {new[:8]}" if new else f"{old[:8]} would be written anew"
        session.terminal.result(
            "repaired_snapshot", {"old_snapshot_id": old, "new_snapshot_id": new or None}, words
        )
    if not new_ids:
        session.terminal.say(f"nothing is lost in {len(among)} snapshots")
    return 22 if new_ids else 0


@command(app, "config", changes=True)
def config(
    session: Session, store: Annotated[str, typer.Argument(help="The store that lacks them.")]
) -> None:
    """Copies config and keys to one store from the others: by name only, never by itself."""
    from drkit.repository.heal.repair_config import repair_config

    with opened(session) as app:
        target = app.store(store)
        put = repair_config(app.repository, target, app.emit, dry_run=session.dry_run)
    would = "would be " if session.dry_run else ""
    for name in put:
        session.terminal.result(
            "repaired_config", {"store": store, "object": name}, f"{store}: {name} {would}put back"
        )
    if not put:
        session.terminal.say(f"{store}: config and keys are as in the other stores")
