"""The commands that change what a repository is called by: key, tag."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from drkit.cli.apps import opened
from drkit.cli.options import command
from drkit.cli.repository.selection import Hosts, Paths, Snapshots, Tags
from drkit.cli.session import Session
from drkit.errors import ConfigError

app = typer.Typer(
    no_args_is_help=True,
    help="List and change the passwords of the repository, in all stores at once.",
)
tags_app = typer.Typer()

NewPasswordFile = Annotated[
    Path | None,
    typer.Option("--new-password-file", help="Its first line; otherwise you are asked for it."),
]


@command(app, "list")
def list_(session: Session) -> int:
    """Lists the keys, and the stores that hold each. * marks those of the password in use."""
    from drkit.repository.key_ring import list_keys

    with opened(session) as app:
        found = list_keys(app.repository, app.password)
        lacking = {store.name for store in app.repository.stores}
    rows = [
        {
            "id": key.id if session.json_lines else key.id[:8],
            "current": key.current if session.json_lines else "*" if key.current else "",
            "user": key.username,
            "host": key.hostname,
            "created": key.created if session.json_lines else key.created[:19].replace("T", " "),
            "stores": sorted(key.stores) if session.json_lines else ",".join(sorted(key.stores)),
            "damaged": sorted(key.damaged) if session.json_lines else ",".join(sorted(key.damaged)),
        }
        for key in found
    ]
    session.terminal.table(
        "key", ("current", "id", "user", "host", "created", "stores", "damaged"), rows
    )
    partial = [key.id[:8] for key in found if key.stores != lacking]
    if partial:
        session.terminal.say(
            f"not in every store: {', '.join(partial)}; drkit repair config NAME copies "
            "keys to a store that you name, drkit key remove takes one away everywhere"
        )
    return 3 if partial else 0


@command(app, "add", locks=True)
def add(
    session: Session,
    new_password_file: NewPasswordFile = None,
    host: Annotated[str | None, typer.Option(help="What the key says; default this one.")] = None,
) -> None:
    """Adds a password in every store, or in none."""
    from drkit.repository.format.keys import calibrated_cost
    from drkit.repository.key_ring import add_key

    with opened(session) as app:
        password = _new_password(new_password_file)
        cost = calibrated_cost(app.clock)
        key_id = add_key(app.repository, password, cost=cost, hostname=host)
        stores = [store.name for store in app.repository.stores]
    session.terminal.result(
        "key_added", {"id": key_id, "stores": stores}, f"key {key_id[:8]} is in {', '.join(stores)}"
    )


@command(app, "remove", locks=True)
def remove(
    session: Session, key: Annotated[str, typer.Argument(help="The start of its id.")]
) -> None:
    """Removes a key from every store; never the last one that the password in use opens."""
    from drkit.repository.key_ring import remove_key

    with opened(session) as app:
        key_id = remove_key(app.repository, key, app.password)
    session.terminal.result("key_removed", {"id": key_id}, f"key {key_id[:8]} is gone everywhere")


@command(app, "passwd", locks=True)
def passwd(session: Session, new_password_file: NewPasswordFile = None) -> None:
    """Replaces the password in use by a new one, in every store.

    Afterwards the new one must be where repository.password says. The data is not encrypted anew:
    who has an old key file and its password can still read what the repository holds.
    """
    from drkit.repository.format.keys import calibrated_cost
    from drkit.repository.key_ring import change_password

    with opened(session) as app:
        password = _new_password(new_password_file)
        cost = calibrated_cost(app.clock)
        added, removed = change_password(app.repository, app.password, password, cost=cost)
        where = app.config.repository.password
    session.terminal.result(
        "password_changed",
        {"added": added, "removed": list(removed)},
        f"key {added[:8]} replaces {', '.join(each[:8] for each in removed)} in every store; "
        f"now put the new password where schedules.yaml finds it: {' or '.join(where)}",
    )


@command(tags_app, "tag", changes=True, locks=True)
def tag(
    session: Session,
    snapshot: Snapshots = None,
    add_tags: Annotated[
        list[str] | None, typer.Option("--add", help="Add these: a,b; repeatable.")
    ] = None,
    remove_tags: Annotated[
        list[str] | None, typer.Option("--remove", help="Take these away: a,b; repeatable.")
    ] = None,
    set_tags: Annotated[
        list[str] | None, typer.Option("--set", help='Exactly these: a,b; "" for none; repeatable.')
    ] = None,
    host: Hosts = None,
    having: Tags = None,
    path: Paths = None,
) -> None:
    """Changes tags of snapshots, in all stores. The snapshot gets a new id and keeps its first."""
    from drkit.repository.forget.tagging import TagChange, plan_tags, retag
    from drkit.repository.trees.select import choose_all, read_filter, read_tags

    def every(texts: list[str] | None) -> tuple[str, ...]:
        return tuple(name for text in texts or () for name in read_tags(text))

    change = TagChange(
        every(add_tags), every(remove_tags), None if set_tags is None else every(set_tags)
    )
    with opened(session) as app:
        wanted = read_filter(host, having, path)
        among = choose_all(app.repository.snapshots(), snapshot or (), wanted)
        if session.dry_run:
            for listed, tags in plan_tags(among, change):
                session.terminal.result(
                    "would_change",
                    {"old_snapshot_id": listed.id, "tags": list(tags)},
                    f"would tag {listed.id[:8]}: {', '.join(tags) or 'nothing'}",
                )
            return
        done = retag(app.repository, among, change, app.emit)
    for one in done:
        session.terminal.result(
            "changed",
            {"old_snapshot_id": one.old_id, "new_snapshot_id": one.new_id, "tags": list(one.tags)},
            f"{one.old_id[:8]} is now {one.new_id[:8]}: {', '.join(one.tags) or 'without tags'}",
        )
    session.terminal.result(
        "summary",
        {"changed_snapshots": len(done)},
        f"changed the tags of {len(done)} of {len(among)} snapshots",
    )


def _new_password(file: Path | None) -> str:
    """From the file, or asked for twice on a terminal; never an argument, which others can see."""
    if file is not None:
        try:
            return file.read_text().partition("\n")[0].rstrip("\r")
        except (OSError, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ConfigError(
                f"{file} cannot be read: {why}", hint="name a file with the password"
            ) from None
    if not sys.stdin.isatty():
        raise ConfigError("no new password was given", hint="name a file: --new-password-file FILE")
    import getpass

    first = getpass.getpass("new password: ")
    if first != getpass.getpass("again: "):
        raise ConfigError("the two are not the same", hint="type it twice")
    return first
