"""What more than one command does with an open deployment."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

from drkit.config.sources import WeightsSource
from drkit.errors import ConfigError, PlaceError, RepositoryLocked
from drkit.events import Note
from drkit.operations.points.backup import BackupReport, back_up
from drkit.operations.points.cutting import NOTHING_FORESEEN, Due, Foreseen, foresee
from drkit.operations.points.residency import refuse_outside
from drkit.repository.backup.scan import BY_ALL, Compare
from drkit.repository.locks.locks import Locks
from drkit.sources.interface import NOTHING_EXCLUDED, Excludes

if TYPE_CHECKING:
    from drkit.points.point import GoldenSet
    from drkit.wiring import App

_FRESH_S = 2.0  # locks that others hold are waited for longer: then it is looked again


def run_backup(
    app: App,
    only: tuple[str, ...] = (),
    *,
    excludes: Excludes = NOTHING_EXCLUDED,
    compare: Compare = BY_ALL,
    tags: tuple[str, ...] = (),
    locking: Future[Locks | None] | None = None,
) -> BackupReport:
    """One point with the sources `only` cut anew (default: all of them).

    `locking`: the repository is open and somebody takes its locks; what they are waited for with is
    this run's.
    """
    refuse_outside(app.config, app.store)
    _refuse_while_fenced(app)
    due = _due(app, only, excludes, compare, tags)
    service = app.config.service

    def golden() -> GoldenSet:
        from drkit.verify.golden import record_golden

        assert service is not None and app.primary is not None
        return record_golden(
            app.primary, model=service.model, api_key=app.api_key(), clock=app.clock
        )

    locks, foreseen = None, NOTHING_FORESEEN
    if locking is not None:
        locks, foreseen = _while_locking(app, due, locking)
    return back_up(
        app.repository,
        due,
        service=service.name if service else None,
        arbiter=app.arbiter if service else None,
        stores=app.stores,
        min_copies=app.config.min_copies,
        own_files=app.own_files(),
        record_golden=golden if service and app.primary else None,
        work_dir=app.state_dir,
        clock=app.clock,
        emit=app.emit,
        locks=locks,
        foreseen=foreseen,
    )


def named_sources(app: App, only: Sequence[str]) -> list[str]:
    """These sources, or all; `ConfigError` for one that is none."""
    sources = app.config.sources
    for name in only:
        if name not in sources:
            raise ConfigError(
                f"there is no source {name!r}", hint=f"there are {', '.join(sources)}"
            )
    return [name for name in sources if not only or name in only]


def _due(
    app: App, only: tuple[str, ...], excludes: Excludes, compare: Compare, tags: tuple[str, ...]
) -> Due:
    """What is cut anew, and what a point must hold to be complete. `ConfigError` for a source that
    is none.
    """
    sources, weights = app.config.sources, app.weights_sources
    due = named_sources(app, only)
    return Due(
        sources={name: app.source(name) for name in due if name not in weights},
        weights={name: weights[name] for name in due if name in weights},
        all_sources=tuple(
            name for name, source in sources.items() if not isinstance(source, WeightsSource)
        ),
        all_weights=tuple(weights),
        excludes=excludes,
        compare=compare,
        percent={name: source.anomaly_percent for name, source in sources.items()},
        tags=tags,
    )


def _while_locking(
    app: App, due: Due, locking: Future[Locks | None]
) -> tuple[Locks | None, Foreseen]:
    """The locks, and what was seen while they were waited for: nothing, if that took long."""
    began_s = app.clock.elapsed_s()
    foreseen = foresee(app.repository, due, app.state_dir, lambda: not locking.done())
    locks = locking.result()
    stale = app.clock.elapsed_s() - began_s > _FRESH_S
    return locks, NOTHING_FORESEEN if stale else foreseen


def _refuse_while_fenced(app: App) -> None:
    """Raises `RepositoryLocked` while a run has fenced sources and proved nothing (S14)."""
    if app.config.service is None:
        return
    from drkit.runs.journal.journal import Journal
    from drkit.runs.states import replay
    from drkit.runs.steering.fenced import fenced_sources

    try:
        journal = Journal(app.database, app.clock)
        run = journal.open_run_of(app.config.service.name, "production")
        if run is None:
            return
        plan, entries = journal.plan(run.id), journal.entries(run.id)
    except PlaceError as error:  # a state that is away stops no backup
        app.emit(Note("warning", "backup", f"runs are not known now: {error.message}"))
        return
    steps = replay(entries, [step.id for step in plan.steps])
    if names := fenced_sources(run, plan, steps):
        raise RepositoryLocked(
            f"no backup now: run {run.id} has fenced {', '.join(names)} and proved nothing yet",
            hint="backups go on once its verify has passed or it is rolled back: "
            f"drkit runs show {run.id}",
        )
