"""`drkit restore`: a point, a snapshot or a folder of one, back into a folder; restic's words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drkit.cli.apps import opened
from drkit.cli.options import command
from drkit.cli.repository.selection import Hosts, Paths, SnapshotAndFolder, Tags
from drkit.cli.session import Session

if TYPE_CHECKING:
    from drkit.coordination.interface import RoleRecord
    from drkit.operations.points.restore_snapshot import Patterned
    from drkit.points.find import FoundPoint
    from drkit.repository.restore.restore import RestoreOptions
    from drkit.repository.trees.select import Selected, SnapshotFilter
    from drkit.wiring import App

app = typer.Typer()

_PATTERN = "restic's patterns: *, ?, [...], **; repeatable."


@command(app, changes=True)
def restore(
    session: Session,
    target: Annotated[
        Path, typer.Option("--target", "-t", help="An empty folder, or one to make.")
    ],
    snapshot: SnapshotAndFolder = "latest",
    source: Annotated[
        list[str] | None, typer.Option(help="Only this source of a point; repeatable.")
    ] = None,
    host: Hosts = None,
    tag: Tags = None,
    path: Paths = None,
    include: Annotated[
        list[str] | None, typer.Option("--include", "-i", help=f"Only what matches: {_PATTERN}")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", "-e", help=f"Not what matches: {_PATTERN}")
    ] = None,
    iinclude: Annotated[
        list[str] | None, typer.Option(help="As --include, whatever the case.")
    ] = None,
    iexclude: Annotated[
        list[str] | None, typer.Option(help="As --exclude, whatever the case.")
    ] = None,
    overwrite: Annotated[
        str, typer.Option(help="With --in-place: always, if-changed, if-newer or never.")
    ] = "always",
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Write into folders in use; --i-know names them.")
    ] = False,
    i_know: Annotated[
        list[str] | None, typer.Option(help="The folder in use that is written to; repeatable.")
    ] = None,
    sparse: Annotated[bool, typer.Option(help="Long runs of zeros become holes.")] = True,
    verify: Annotated[
        bool, typer.Option("--verify", help="Hash everything again afterwards.")
    ] = False,
) -> int:
    """Brings a point back into an empty folder, from all sound stores at once.

    Each source becomes a folder below the target, weights too. A snapshot that is no point, or
    SNAPSHOT:FOLDER, comes back as the target itself. A restore that was cut short goes on.
    """
    from concurrent.futures import ThreadPoolExecutor

    with opened(session) as app, ThreadPoolExecutor(1, "open") as beside:
        # to open a repository takes as long as to import what works on it, now or later
        opening = beside.submit(lambda: app.repository_to_read)
        import drkit.operations.points.restore
        import drkit.points.find  # noqa: F401
        from drkit.operations.points.restore_snapshot import Patterned
        from drkit.repository.restore.place import read_overwrite
        from drkit.repository.restore.restore import RestoreOptions
        from drkit.repository.trees.select import Selected, read_filter

        options = RestoreOptions(
            overwrite=read_overwrite(overwrite),
            in_place=in_place,
            sparse=sparse,
            dry_run=session.dry_run,
        )
        patterns = Patterned(include or (), exclude or (), iinclude or (), iexclude or ())
        order = _Order(target, options, patterns, tuple(i_know or ()), verify)
        wanted = read_filter(host, tag, path)
        opening.result()
        found = _chosen(app, snapshot, wanted)
        if isinstance(found, Selected):
            return _restore_snapshot(session, app, found, order)
        return _restore_point(session, app, found, order, tuple(source or ()))


@dataclass(frozen=True, slots=True)
class _Order:
    target: Path
    options: RestoreOptions
    patterns: Patterned
    known: tuple[str, ...]
    verify: bool


def _role(app: App) -> RoleRecord | None:
    """Who serves now, which says what is choosable (S14). A restore does without it, and says so:
    the arbiter may be what was lost.
    """
    from drkit.errors import DrkitError
    from drkit.events import Note

    service = app.config.service
    if service is None:
        return None
    try:
        return app.arbiter.read_role(service.name)
    except DrkitError as error:
        said = f"{error.message}; the newest point is taken, whoever wrote it"
        app.emit(Note("warning", "role record", said))
        return None


def _chosen(app: App, selector: str, wanted: SnapshotFilter) -> FoundPoint | Selected:
    """The point that is meant, or the snapshot when it is none, or when a folder was named."""
    from drkit.errors import DamagedData
    from drkit.points.find import TAG, choose_point, list_points
    from drkit.repository.trees.select import choose

    points = list_points(app.repository_to_read)
    if selector == "latest" and not str(wanted) and points:
        return choose_point(points, role=_role(app))
    snapshots = app.repository_to_read.snapshots()
    if selector == "latest" and not str(wanted) and any(TAG in s.snapshot.tags for s in snapshots):
        raise DamagedData(
            "no point can be read, and the newest snapshot may lack anything",
            hint="bring back a store that has one whole, or take what is left by the id of a "
            "snapshot: drkit snapshots",
        )
    selected = choose(snapshots, selector, wanted)
    whole = [found for found in points if found.id == selected.listed.id and ":" not in selector]
    return whole[0] if whole else selected


def _restore_point(
    session: Session, app: App, found: FoundPoint, order: _Order, only: tuple[str, ...]
) -> int:
    from drkit.cli.repository.reports import restore_text, restore_values
    from drkit.operations.points.restore import restore_point

    restored = restore_point(
        app.repository_to_read,
        found,
        order.target,
        only=only,
        verify=order.verify,
        stores=app.stores,
        clock=app.clock,
        emit=app.emit,
        options=order.options,
        patterns=order.patterns,
        known=order.known,
    )
    words = restore_text(found, restored, order.target)
    if session.dry_run:
        words = f"would restore {words}\nnothing was written"
    session.terminal.result("restore", restore_values(found, restored), words)
    if any(not proof.passed for proof in restored.proofs):
        return 22
    return 3 if restored.failed or any(one.not_made for one in restored.trees.values()) else 0


def _restore_snapshot(session: Session, app: App, selected: Selected, order: _Order) -> int:
    from drkit.operations.points.restore_snapshot import restore_snapshot
    from drkit.units import format_bytes

    report, proofs = restore_snapshot(
        app.repository_to_read,
        selected,
        order.target,
        app.emit,
        options=order.options,
        patterns=order.patterns,
        known=order.known,
        verify=order.verify,
    )
    what = f"{selected.listed.id[:8]}:{selected.subfolder}"
    verb = "would restore" if session.dry_run else "restored"
    lines = [
        f"{verb} {what} as {order.target}: {report.files} files, {format_bytes(report.bytes)}"
        + (f", {report.kept} kept as they were" if report.kept else "")
        + (f", {report.not_made} NOT restored" if report.not_made else "")
    ]
    lines += [f"{'proved' if proof.passed else 'WRONG'}: {proof.detail}" for proof in proofs]
    session.terminal.result(
        "restore",
        {
            "snapshot": selected.listed.id,
            "folder": selected.subfolder,
            "files": report.files,
            "folders": report.folders,
            "bytes": report.bytes,
            "kept": report.kept,
            "not_made": report.not_made,
            "bytes_reused": report.bytes_reused,
            "dry_run": session.dry_run,
            "proved": all(proof.passed for proof in proofs) if proofs else None,
        },
        "\n".join(lines),
    )
    if not all(proof.passed for proof in proofs):
        return 22
    return 3 if report.not_made else 0
