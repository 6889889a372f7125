"""`drkit backup`: one point into all stores; `drkit ack`: an operator has looked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drkit.cli.apps import opened
from drkit.cli.options import command
from drkit.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from drkit.repository.locks.locks import Locks
    from drkit.repository.repository import Repository
    from drkit.sources.interface import Excludes
    from drkit.wiring import App

app = typer.Typer()

_NEEDS_OPERATOR = 25
_Patterns = list[str] | None


@command(app, changes=True, locks=True)
def backup(
    session: Session,
    source: Annotated[
        list[str] | None, typer.Option(help="Only this source; others stay as they were.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="With --sandbox: your own tree instead of a made one.")
    ] = None,
    exclude: Annotated[_Patterns, typer.Option("--exclude", "-e", help="Leave out.")] = None,
    iexclude: Annotated[_Patterns, typer.Option(help="The same, whatever the case.")] = None,
    exclude_file: Annotated[_Patterns, typer.Option(help="Patterns, one a line.")] = None,
    iexclude_file: Annotated[_Patterns, typer.Option(help="The same, whatever the case.")] = None,
    exclude_larger_than: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Leave out larger files: 64K, 10M, 2G.")
    ] = None,
    exclude_caches: Annotated[
        bool, typer.Option("--exclude-caches", help="Leave out what a CACHEDIR.TAG marks.")
    ] = False,
    exclude_if_present: Annotated[
        _Patterns, typer.Option(metavar="NAME[:HEADER]", help="Leave out what lies beside it.")
    ] = None,
    one_file_system: Annotated[
        bool, typer.Option("--one-file-system", "-x", help="Keep mount points as empty folders.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Read every file again.")] = False,
    ignore_inode: Annotated[
        bool, typer.Option("--ignore-inode", help="Another inode is no change.")
    ] = False,
    ignore_ctime: Annotated[
        bool, typer.Option("--ignore-ctime", help="Another time of change is no change.")
    ] = False,
    tag: Annotated[_Patterns, typer.Option(help="Tags of the snapshot, with commas.")] = None,
) -> int:
    """Writes one point of every source into all stores at once."""
    from concurrent.futures import ThreadPoolExecutor

    excludes = _excludes((exclude, exclude_file), (iexclude, iexclude_file), exclude_larger_than)
    excludes = _with_marks(excludes, exclude_caches, exclude_if_present, one_file_system)
    with opened(session, servers=True, data=data) as app:
        if session.dry_run:
            _tell_dry_run(session, app, source or ())
            return 0
        only = tuple(source or ())
        with ThreadPoolExecutor(1, "open") as beside:
            # to open a repository takes as long as to import what works on it
            opening = beside.submit(lambda: app.repository)
            locking = beside.submit(_locked, app, opening, only)
            from drkit.cli.repository.backing_up import run_backup
            from drkit.cli.repository.reports import backup_text, backup_values
            from drkit.repository.backup.scan import Compare
            from drkit.units import format_bytes

            opening.result()
            try:
                report = run_backup(
                    app,
                    only,
                    excludes=excludes,
                    compare=Compare(ignore_inode, ignore_ctime, force),
                    tags=tuple(part for text in tag or () for part in text.split(",") if part),
                    locking=locking,
                )
            except BaseException:
                if locking.exception() is None and (locks := locking.result()) is not None:
                    locks.release(app.emit)
                raise
    session.terminal.result("backup", backup_values(report), backup_text(report, format_bytes))
    if report.anomalies:
        return _NEEDS_OPERATOR
    return 0 if report.whole else 3


def _tell_dry_run(session: Session, app: App, only: Sequence[str]) -> None:
    from drkit.cli.repository.backing_up import named_sources

    for name in named_sources(app, only):
        kind = app.config.sources[name].kind
        values = {"source": name, "kind": kind, "stores": list(app.config.stores)}
        session.terminal.result("would_cut", values, f"would cut {name} ({kind})")
    session.terminal.say(f"into {', '.join(app.config.stores)}; nothing was done")


def _locked(app: App, opening: Future[Repository], only: tuple[str, ...]) -> Locks | None:
    """The locks of the run, where nothing but trees is cut, which takes no time: each store is
    given a moment to show others.
    """
    from drkit.repository.locks.locks import take_locks

    repository = opening.result()
    due = [config for name, config in app.config.sources.items() if not only or name in only]
    if app.config.service is not None or any(config.kind != "tree" for config in due):
        return None
    repository.refuse_format_1()
    return take_locks(repository, exclusive=False, need_all=False, emit=app.emit)


@command(app)
def ack(
    session: Session,
    point: Annotated[
        list[str] | None, typer.Argument(help="Ids of flagged points; default: all of them.")
    ] = None,
) -> int:
    """You have looked at flagged anomalies and at the last run: expiry and failovers go on."""
    import getpass

    from drkit.errors import ConfigError
    from drkit.repository.backup.anomaly import acknowledge, unacknowledged

    with opened(session) as app:
        cooled = not point and _end_cooldown(session, app)
        repository = app.repository
        held = unacknowledged(repository, repository.snapshots())
        chosen = [
            listed
            for listed in held
            if not point or any(listed.id.startswith(start) for start in point)
        ]
        if point and not chosen:
            raise ConfigError(
                f"no flagged point starts with {', '.join(point)}",
                hint=f"flagged are: {', '.join(listed.id[:8] for listed in held) or 'none'}",
            )
        for listed in chosen:
            stores = acknowledge(
                repository.stores,
                repository.key,
                listed.id,
                who=f"{getpass.getuser()}@{app.hostname}",
                at=app.clock.now(),
                emit=app.emit,
            )
            session.terminal.result(
                "acknowledged",
                {"point": listed.id, "stores": stores},
                f"point {listed.id[:8]} is acknowledged in {', '.join(stores)}",
            )
        if not chosen and not cooled:
            words = "no point is flagged, no cooldown runs; nothing was done"
            session.terminal.result("acknowledged", {"point": None, "stores": []}, words)
    return 0


def _end_cooldown(session: Session, app: App) -> bool:
    """Whether a cooldown ran: the next decision need not wait for the last run any more (R4)."""
    if app.config.service is None:
        return False
    from drkit.operations.watch.decide import acknowledge
    from drkit.runs.journal.opening import read_standing
    from drkit.state.audit import AuditLog
    from drkit.units import format_duration

    service, now = app.config.service.name, app.clock.now()
    with app.database.read() as connection:
        left_s = read_standing(connection, service, app.config.decide, now).cooldown_left_s
    if left_s <= 0:
        return False
    acknowledge(app.database, service, now)
    AuditLog(app.database, app.clock).append("ack", service, {"cooldown_left_s": round(left_s)})
    session.terminal.result(
        "cooldown_ended",
        {"service": service, "left_s": round(left_s)},
        f"the cooldown of {service} is over, {format_duration(left_s)} early",
    )
    return True


def _excludes(
    exact: tuple[_Patterns, _Patterns], folded: tuple[_Patterns, _Patterns], larger: str | None
) -> Excludes:
    from drkit.errors import ConfigError
    from drkit.sources.interface import Excludes
    from drkit.sources.patterns import checked, pattern_file
    from drkit.units import parse_bytes

    def gathered(patterns: _Patterns, files: _Patterns) -> tuple[str, ...]:
        return (*(patterns or ()), *(line for name in files or () for line in pattern_file(name)))

    try:
        larger_than_bytes = None if larger is None else parse_bytes(larger)
    except ValueError as error:
        raise ConfigError(f"--exclude-larger-than: {error}", hint="such as 10M") from None
    return checked(
        Excludes(
            patterns=gathered(*exact),
            ipatterns=gathered(*folded),
            larger_than_bytes=larger_than_bytes,
        )
    )


def _with_marks(
    excludes: Excludes, caches: bool, if_present: _Patterns, one_file_system: bool
) -> Excludes:
    from dataclasses import replace

    return replace(
        excludes,
        caches=caches,
        if_present=tuple(if_present or ()),
        one_file_system=one_file_system,
    )
