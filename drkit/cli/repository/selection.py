"""The options by which every command chooses snapshots: restic's words."""

from __future__ import annotations

from typing import Annotated

import typer

Hosts = Annotated[
    list[str] | None, typer.Option("--host", "-H", help="Only snapshots of this host; repeatable.")
]
Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", help="Only snapshots with all of these tags: a,b; repeated: or."),
]
Paths = Annotated[
    list[str] | None,
    typer.Option("--path", help="Only snapshots that hold this path; repeated: and."),
]
Snapshots = Annotated[
    list[str] | None, typer.Argument(help="Ids, starts of ids, or latest; default all.")
]
SnapshotAndFolder = Annotated[
    str, typer.Argument(metavar="SNAPSHOT[:FOLDER]", help="An id, its start, or latest.")
]
Long = Annotated[bool, typer.Option("--long", "-l", help="Modes, owners, sizes, times.")]
Human = Annotated[bool, typer.Option("--human-readable", help="With -l: sizes as people say them.")]
