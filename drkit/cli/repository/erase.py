"""`drkit erase`: what must not be kept any longer goes from every store, by a shown plan (K6)."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from drkit.cli.apps import opened
from drkit.cli.options import command
from drkit.cli.session import Session

if TYPE_CHECKING:
    from drkit.operations.deletion.erase_leaves import Left
    from drkit.repository.erase.erase import ErasePlan, Match
    from drkit.repository.erase.standing import ErasureStanding
    from drkit.repository.repository import ListedSnapshot
    from drkit.wiring import App

app = typer.Typer()


@command(app, changes=True, locks=True)
def erase(
    session: Session,
    paths: Annotated[
        list[str] | None,
        typer.Argument(help="Paths in snapshots, or restic's patterns: /sncp/users/42"),
    ] = None,
    point: Annotated[
        list[str] | None, typer.Option(help="A whole point, by the start of its id; repeatable.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL@REVISION", help="Mirrored weights that no source has any more."
        ),
    ] = None,
    apply: Annotated[
        str | None, typer.Option(metavar="PLAN", help="Do it: the plan that was shown.")
    ] = None,
) -> int:
    """Erases paths, or whole points, from every store and every snapshot, for good.

    Shows the plan, and what it leaves; --apply PLAN does exactly that. Without paths: goes on with
    earlier erasures, and says how far each store is. The evidence of runs is not touched.
    """
    from drkit.cli.repository.erase_weights import erase_weights
    from drkit.errors import ConfigError
    from drkit.repository.erase.erase import erase as run_erase
    from drkit.repository.erase.erase import plan_erase
    from drkit.repository.records.erased import known_tombstones

    if weights is not None:
        if paths or point:
            raise ConfigError("--weights goes alone", hint="erase paths and points by themselves")
        return erase_weights(session, weights, apply)
    with opened(session) as app:
        repository = app.repository
        points = _points(repository.snapshots(), point or ())
        match = _matcher(paths or ())
        checksum: str | None = None
        known = known_tombstones(repository)
        if not (paths or points or known.erased_paths or known.erased_packs):
            session.terminal.say("nothing was erased so far")
            return 0
        if paths or points:
            plan = plan_erase(repository, match, points)
            _show(session, app, plan, paths or ())
            if apply is None or session.dry_run:
                if not plan.empty:
                    named = [
                        *(paths or ()),
                        *(word for one in point or () for word in ("--point", one)),
                    ]
                    typed = shlex.join(["drkit", "erase", *named, "--apply", plan.checksum])
                    session.terminal.say(f"nothing was done; to do exactly this: {typed}")
                return 0
            checksum = None if plan.empty else apply  # an earlier one may have died at its end
        behind: dict[str, str] = {}
        if not session.dry_run:
            report = run_erase(repository, match, points, app.emit, checksum=checksum)
            behind = dict(report.behind)
            _note(app, checksum, len(report.rewritten), len(report.removed), report.packs)
            if any(one.left for one in _standing(app).values()):
                _prune(app)
        return _tell(session, app, behind)


def _matcher(paths: list[str] | tuple[str, ...]) -> Match:
    from drkit.errors import ConfigError
    from drkit.sources.patterns import BadPattern, Patterns

    try:
        patterns = Patterns(tuple(paths), below="/")
    except BadPattern as error:
        raise ConfigError(
            str(error), hint="patterns are restic's: *, ?, [...], ** and a leading /"
        ) from None
    return patterns.match


def _points(snapshots: list[ListedSnapshot], named: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    from drkit.repository.trees.select import choose_all

    return tuple(one.id for one in choose_all(snapshots, named)) if named else ()


def _show(session: Session, app: App, plan: ErasePlan, paths: list[str] | tuple[str, ...]) -> None:
    from drkit.units import format_bytes

    lines = [f"  {path}" for path in plan.paths[:20]]
    lines += [f"  and {len(plan.paths) - 20} more"] if len(plan.paths) > 20 else []
    lines += [f"  {listed[:8]} is written anew without them" for listed in plan.rewritten[:20]]
    more = len(plan.rewritten) - 20
    lines += [f"  and {more} more snapshots"] if more > 0 else []
    lines += [f"  {listed[:8]} goes whole" for listed in plan.removed]
    head = f"erases {plan.files} files ({format_bytes(plan.bytes)} in all their versions)"
    if plan.empty:
        head = f"no snapshot holds {' or '.join(paths) or 'that'}"
    stays = _left(app, plan)
    lines += ["not erased by this:", *(f"  {each}" for each in stays)]
    session.terminal.result(
        "erase_plan",
        {
            "plan": plan.checksum,
            "paths": list(plan.paths),
            "rewritten": list(plan.rewritten),
            "removed": list(plan.removed),
            "files": plan.files,
            "bytes": plan.bytes,
            "not_erased": [asdict(each) for each in stays],
        },
        "\n".join([head, *lines]),
    )
    for path in plan.paths[:1000]:
        _warn_of_source(app, path)


def _left(app: App, plan: ErasePlan) -> tuple[Left, ...]:
    from drkit.operations.deletion.erase_leaves import left_by_erasing
    from drkit.points.find import list_points
    from drkit.runs.journal.reading import ReadableJournal

    return left_by_erasing(
        plan.paths,
        plan.removed,
        points=list_points(app.repository),
        sources=app.config.sources,
        runs=len(ReadableJournal(app.database).runs()),
    )


def _warn_of_source(app: App, path: str) -> None:
    """What is still in the source is backed up again by the next backup."""
    from pathlib import Path

    from drkit.config.sources import TreeSource
    from drkit.events import Note

    _, _, rest = path.partition("/")
    name, _, below = rest.partition("/")
    source = app.config.sources.get(name)
    if isinstance(source, TreeSource) and (Path(source.path) / below).exists():
        app.emit(Note("warning", name, f"{path} is still there: the next backup keeps it again"))


def _note(app: App, checksum: str | None, rewritten: int, removed: int, packs: int) -> None:
    """Leaves a line in the audit log, without a path in it."""
    from drkit.state.audit import AuditLog

    values = {"rewritten": rewritten, "removed": removed, "packs": packs}
    AuditLog(app.database, app.clock).append("erase", checksum or "goes on", values)


def _prune(app: App) -> None:
    """Marks what was erased, and deletes where it is the turn; the rest is for `drkit prune`."""
    from dataclasses import replace
    from datetime import timedelta

    from drkit.cli.repository.forgetting import prune_options
    from drkit.errors import GuardRefused
    from drkit.events import Note
    from drkit.repository.prune.prune import prune

    try:
        prune(app.repository, replace(prune_options(app), hold=timedelta(0)), app.emit)
    except GuardRefused as refused:
        app.emit(Note("warning", "prune", f"{refused.message}; {refused.hint}"))


def _standing(app: App) -> dict[str, ErasureStanding]:
    from datetime import timedelta

    from drkit.repository.erase.standing import erasure_standing

    roles = {name: store.role for name, store in app.config.stores.items()}
    return erasure_standing(app.repository, roles, app.emit, hold=timedelta(0))


def _tell(session: Session, app: App, behind: dict[str, str]) -> int:
    from drkit.cli.repository.reports import erased_values

    found = _standing(app)
    for name, standing in found.items():
        session.terminal.result("erased", erased_values(name, standing), f"{name}: {standing}")
    done = all(standing.state == "removed" for standing in found.values())
    return 0 if done and not behind else 3
