"""The commands that compare and count: diff, stats."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from drkit.cli.apps import opened
from drkit.cli.options import command
from drkit.cli.repository.selection import Hosts, Paths, SnapshotAndFolder, Snapshots, Tags
from drkit.cli.session import Session

app = typer.Typer()


@command(app)
def diff(
    session: Session,
    first: SnapshotAndFolder,
    second: SnapshotAndFolder,
    metadata: Annotated[
        bool, typer.Option("--metadata", help="Also paths whose metadata alone changed.")
    ] = False,
) -> None:
    """Says what changed from one snapshot to another: + new, - gone, M content, T kind, U metadata.

    M? is other content under unchanged metadata: look at that file's disk.
    """
    from drkit.repository.trees.diff import Diff
    from drkit.repository.trees.select import choose
    from drkit.repository.trees.walk import find_folder
    from drkit.units import format_bytes

    with opened(session) as app:
        repository = app.repository
        chosen = [choose(repository.snapshots(), selector) for selector in (first, second)]
        left, right = (
            find_folder(repository, each.listed.snapshot.tree, each.subfolder) for each in chosen
        )
        found = Diff(repository, left, right, metadata=metadata)
        for change in found.changes():
            session.terminal.result(
                "change",
                {"path": change.path, "modifier": change.modifier},
                f"{change.modifier:<5}{change.path}".replace("\n", "\\n"),
            )
    totals = found.totals
    lines = ["", f"Files: {totals.changed_files} changed, {totals.added.files} new, "]
    lines[-1] += f"{totals.removed.files} removed"
    for word, key in (("Folders", "dirs"), ("Others", "others")):
        new, gone = getattr(totals.added, key), getattr(totals.removed, key)
        lines.append(f"{word}: {new} new, {gone} removed")
    for word, side in (("Added", totals.added), ("Removed", totals.removed)):
        blobs = f"{side.data_blobs} data blobs and {side.tree_blobs} trees"
        lines.append(f"{word}: {format_bytes(side.bytes)} in {blobs}")
    session.terminal.result(
        "statistics",
        {
            "source_snapshot": chosen[0].listed.id,
            "target_snapshot": chosen[1].listed.id,
            "changed_files": totals.changed_files,
            "added": asdict(totals.added),
            "removed": asdict(totals.removed),
        },
        "\n".join(lines),
    )


@command(app)
def stats(
    session: Session,
    snapshot: Snapshots = None,
    mode: Annotated[
        str,
        typer.Option(
            help="restore-size: what a restore would write; files-by-contents: each content once; "
            "raw-data: what the blobs take in each store."
        ),
    ] = "restore-size",
    host: Hosts = None,
    tag: Tags = None,
    path: Paths = None,
) -> None:
    """Counts how much snapshots hold."""
    from drkit.repository.trees.select import choose_all, read_filter
    from drkit.repository.trees.stats import count, read_mode
    from drkit.units import format_bytes

    how = read_mode(mode)
    with opened(session) as app:
        among = choose_all(app.repository.snapshots(), snapshot or (), read_filter(host, tag, path))
        found = count(app.repository, among, how)
    values = {
        "total_size": found.bytes,
        "total_file_count": found.files,
        "total_blob_count": found.blobs,
        "total_uncompressed_size": found.uncompressed_bytes,
        "compression_ratio": found.compression_ratio,
        "compression_progress": found.compression_progress,
        "compression_space_saving": found.space_saving,
        "snapshots_count": found.snapshots,
        "mode": how,
    }
    lines = [f"{how} of {found.snapshots} snapshots: {format_bytes(found.bytes)}"]
    if found.files:
        lines.append(f"  in {found.files} files and folders")
    if found.blobs:
        lines.append(f"  in {found.blobs} blobs")
    if found.compression_ratio and found.space_saving is not None:
        lines.append(
            f"  {format_bytes(found.uncompressed_bytes)} before compression: "
            f"{found.compression_ratio:.2f}x where it helps, {found.space_saving:.1f}% saved"
        )
    session.terminal.result("stats", values, "\n".join(lines))
