"""The commands that look into snapshots: snapshots, ls, find, dump."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from drkit.cli.apps import opened
from drkit.cli.options import command, of_option
from drkit.cli.repository.selection import (
    Hosts,
    Human,
    Long,
    Paths,
    SnapshotAndFolder,
    Snapshots,
    Tags,
)
from drkit.cli.session import Session
from drkit.errors import ConfigError, GuardRefused

app = typer.Typer()


@command(app)
def snapshots(
    session: Session,
    snapshot: Snapshots = None,
    host: Hosts = None,
    tag: Tags = None,
    path: Paths = None,
    group_by: Annotated[
        str, typer.Option("--group-by", "-g", help="host, paths, tags, or several: a,b.")
    ] = "",
    latest: Annotated[
        int | None, typer.Option(min=1, help="Only the newest so many of each host and paths.")
    ] = None,
) -> None:
    """Lists the snapshots of the repository and the stores that hold each."""
    from drkit.cli.repository.nodes import snapshot_cells, snapshot_values
    from drkit.repository.trees.select import choose_all, group, read_filter, read_group_keys

    keys = read_group_keys(group_by)
    with opened(session) as app:
        found = choose_all(app.repository.snapshots(), snapshot or (), read_filter(host, tag, path))
    if latest is not None:
        newest = group(found, keys or ("host", "paths"))
        ids = {listed.id for each in newest for listed in each.snapshots[-latest:]}
        found = tuple(listed for listed in found if listed.id in ids)
    columns = ("id", "time", "host", "tags", "paths", "stores")
    for each in group(found, keys):
        if keys:
            named = [f"host {each.host}"] if each.host is not None else []
            named += [f"paths {' '.join(each.paths)}"] if each.paths is not None else []
            named += [f"tags {','.join(each.tags) or 'none'}"] if each.tags is not None else []
            session.terminal.say(f"\n{'; '.join(named)}")
        rows = snapshot_values if session.json_lines else snapshot_cells
        session.terminal.table("snapshot", columns, [rows(listed) for listed in each.snapshots])


@command(app)
def ls(
    session: Session,
    snapshot: SnapshotAndFolder = "latest",
    directory: Annotated[
        list[str] | None, typer.Argument(help="Only these folders of it, one level.")
    ] = None,
    long: Long = False,
    recursive: Annotated[
        bool, typer.Option("--recursive", help="With folders: all that is below them.")
    ] = False,
    human_readable: Human = False,
    host: Hosts = None,
    tag: Tags = None,
    path: Paths = None,
) -> int:
    """Lists what a snapshot holds."""
    from drkit.cli.repository.nodes import node_line, node_values, snapshot_values
    from drkit.repository.trees.select import choose, read_filter
    from drkit.repository.trees.walk import Damages, find_folder, listing

    with opened(session) as app:
        chosen = choose(app.repository.snapshots(), snapshot, read_filter(host, tag, path))
        listed, damages = chosen.listed, Damages(app.emit)
        session.terminal.result(
            "snapshot",
            snapshot_values(listed),
            f"snapshot {listed.id[:8]} of {listed.snapshot.time:%Y-%m-%d %H:%M:%S} UTC:",
        )
        tree = find_folder(app.repository, listed.snapshot.tree, chosen.subfolder)
        for folder in directory or ("/",):
            for entry in listing(
                app.repository,
                tree,
                folder,
                recursive=recursive or not directory,
                on_damage=damages,
            ):
                line = node_line(entry, long=long, human=human_readable)
                session.terminal.result("node", node_values(entry), line)
    return 22 if damages.paths else 0


@command(app)
def find(
    session: Session,
    pattern: Annotated[
        list[str], typer.Argument(help="Names or paths, with *, ?, [...], **; or starts of ids.")
    ],
    snapshot: Annotated[
        list[str] | None, typer.Option("--snapshot", "-s", help="Only in this one; repeatable.")
    ] = None,
    host: Hosts = None,
    tag: Tags = None,
    path: Paths = None,
    ignore_case: Annotated[bool, typer.Option("--ignore-case", "-i")] = False,
    oldest: Annotated[
        str | None, typer.Option("--oldest", "-O", help="Modified then or later: 2026-01-31 10:00.")
    ] = None,
    newest: Annotated[
        str | None, typer.Option("--newest", "-N", help="Modified then or earlier.")
    ] = None,
    long: Long = False,
    human_readable: Human = False,
    blob: Annotated[bool, typer.Option("--blob", help="Patterns are starts of blob ids.")] = False,
    tree: Annotated[bool, typer.Option("--tree", help="Patterns are starts of tree ids.")] = False,
    pack: Annotated[bool, typer.Option("--pack", help="Patterns are starts of pack ids.")] = False,
    reverse: Annotated[
        bool, typer.Option("--reverse", "-R", help="Oldest snapshot first.")
    ] = False,
) -> int:
    """Says which snapshots hold a file, or use a blob, tree or pack; the newest first."""
    from drkit.cli.repository.nodes import node_line, node_values
    from drkit.repository.trees.find import Wanted, find_blobs, find_paths, read_moment
    from drkit.repository.trees.select import choose_all, read_filter
    from drkit.repository.trees.walk import Damages

    if blob + tree + pack > 1:
        raise ConfigError("one kind of id at a time", hint="give one of --blob, --tree, --pack")
    kind = "blob" if blob else "tree" if tree else "pack" if pack else None
    wanted = Wanted(
        tuple(pattern),
        ignore_case,
        of_option("--oldest", read_moment, oldest) if oldest else None,
        of_option("--newest", read_moment, newest) if newest else None,
    )
    hits = 0
    with opened(session) as app:
        damages = Damages(app.emit)
        among = choose_all(app.repository.snapshots(), snapshot or (), read_filter(host, tag, path))
        for listed in among if reverse else reversed(among):
            named = False
            of = f"in snapshot {listed.id[:8]} of {listed.snapshot.time:%Y-%m-%d %H:%M:%S} UTC:"
            if kind is None:
                for entry in find_paths(app.repository, listed.snapshot.tree, wanted, damages):
                    if not named:
                        session.terminal.say(of)
                    named, hits = True, hits + 1
                    session.terminal.result(
                        "match",
                        {"snapshot": listed.id, **node_values(entry)},
                        node_line(entry, long=long, human=human_readable),
                    )
                continue
            for use in find_blobs(app.repository, listed, pattern, kind=kind, on_damage=damages):
                if not named:
                    session.terminal.say(of)
                named, hits = True, hits + 1
                at = use.entry.path if use.entry else "/"
                values = {"kind": use.kind, "id": use.id, "path": at, "pack": use.pack}
                words = f"{use.kind} {use.id} of {at}, in pack {use.pack or 'none: it is lost'}"
                session.terminal.result("match", {"snapshot": listed.id, **values}, words)
    if not hits:
        session.terminal.say(f"not found in {len(among)} snapshots")
    return 22 if damages.paths else 0


@command(app)
def dump(
    session: Session,
    snapshot: SnapshotAndFolder,
    file: Annotated[str, typer.Argument(help="A file, or a folder, which becomes an archive.")],
    archive: Annotated[
        Literal["tar", "zip"], typer.Option("--archive", "-a", help="What a folder becomes.")
    ] = "tar",
    target: Annotated[
        Path | None, typer.Option("--target", "-t", help="Write here, not to standard output.")
    ] = None,
    host: Hosts = None,
    tag: Tags = None,
    path: Paths = None,
) -> None:
    """Writes one file, or a folder as tar or zip, to standard output."""
    import sys

    from drkit.repository.dump.dump import dump as write_dump
    from drkit.repository.restore.lawful import erased_in
    from drkit.repository.trees.select import choose, read_filter
    from drkit.repository.trees.walk import find_folder

    if session.json_lines and target is None:
        raise ConfigError("--json and the file would mix", hint="give it a place: --target FILE")
    with opened(session) as app:
        chosen = choose(app.repository.snapshots(), snapshot, read_filter(host, tag, path))
        snapshot_of = chosen.listed.snapshot
        tree = find_folder(app.repository, snapshot_of.tree, chosen.subfolder)
        left_out = erased_in(app.repository, snapshot_of, chosen.subfolder)
        if target is None:
            write_dump(app.repository, tree, file, sys.stdout.buffer, archive, left_out=left_out)
            sys.stdout.buffer.flush()
            return
        if target.exists():
            raise GuardRefused(f"{target} is there already", hint="name a file that is not there")
        try:
            out = target.open("xb")
        except OSError as error:
            hint = "name a file in a folder that is there, and that this user may write to"
            raise ConfigError(f"{target} cannot be made: {error.strerror}", hint=hint) from error
        with out:
            write_dump(app.repository, tree, file, out, archive, left_out=left_out)
    session.terminal.result("dump", {"target": str(target)}, f"{file} is in {target}")
