"""Who serves now and what was brought there: what a failback has to bring home."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from drkit.config.models import Config
from drkit.config.sources import QdrantSource, SourceConfig, TreeSource
from drkit.coordination.interface import RoleRecord
from drkit.errors import ConfigError, GuardRefused, NeedsOperator
from drkit.operations.points.backup import back_up
from drkit.operations.points.cutting import Due
from drkit.runs.book.plan import Serving
from drkit.runs.journal.journal import Journal
from drkit.runs.journal.sealed import SealedRun, sealed_run
from drkit.runs.records import EXTERNAL, JSON, former_of
from drkit.sources.catalog import open_source
from drkit.sources.interface import SourceUnreadable
from drkit.wiring.app import App

_MOST_RUNS_BACK = 20


def serving_now(app: App, journal: Journal) -> Serving:
    """Who serves by the role record (R2), with what the journal knows of the run that began it.

    `EXTERNAL` as the site: users are held, and no target has anything of theirs. Raises
    `GuardRefused` when the primary serves already, `NeedsOperator` when this machine does not know
    what the target was given.
    """
    service = app.config.service
    if service is None:
        raise ConfigError("schedules.yaml describes no service", hint="add its `service` section")
    role = app.arbiter.read_role(service.name)
    if role is None or role.site == service.primary:
        if any(switch.read().held for switch in app.switches("production")):
            return Serving(EXTERNAL)
        raise GuardRefused(
            f"{service.name} is at home: {service.primary} serves it, and nobody is held",
            hint="`drkit status` shows who serves",
        )
    return _came_there(app, journal, role, service.primary)


def _came_there(app: App, journal: Journal, role: RoleRecord, primary: str) -> Serving:
    """Back through runs that held users or were taken back, to the one that moved traffic there."""
    site, url, run_id = role.site, role.endpoint_url, role.run_id
    for _ in range(_MOST_RUNS_BACK):
        known = _known(app, journal, run_id)
        if known is None:
            break
        if known.run.led_to(site) and site in app.config.targets:
            return _serving(known, site, url)
        former = former_of(known.entries)
        if former is None:
            break
        site, url, run_id = former
        if site == primary:
            return Serving(EXTERNAL)
    raise NeedsOperator(
        f"neither this machine nor a store has the journal of run {run_id}, which brought the "
        f"service to {site}: what data lives there now is not known",
        hint="fail back from the machine that has its state, or bring its stores back",
    )


def _known(app: App, journal: Journal, run_id: str | None) -> SealedRun | None:
    """The run by this machine's own journal, else as the stores hold it, sealed (K5)."""
    if run_id is None:
        return None
    if any(run.id == run_id for run in journal.runs()):
        entries = tuple(journal.entries(run_id))
        return SealedRun(journal.run(run_id), journal.plan(run_id), entries)
    return sealed_run(app.stores, app.repository.key.open, run_id)


def _serving(known: SealedRun, site: str, url: str | None) -> Serving:
    actions = {step.id: step.action for step in known.plan.steps}
    outputs: dict[str, Mapping[str, JSON]] = {}
    for entry in known.entries:
        output = entry.payload.get("output")
        if entry.kind == "done" and entry.step in actions and isinstance(output, Mapping):
            outputs[actions[entry.step]] = output
    instance = outputs.get("acquire", {}).get("instance_id")
    snapshot = outputs.get("point", {}).get("snapshot_id")
    brought = outputs.get("restore", {}).get("restored")
    return Serving(
        site=site,
        endpoint_url=url,
        run_id=known.run.id,
        instance=str(instance) if instance else None,
        snapshot=str(snapshot) if snapshot else None,
        brought=brought if isinstance(brought, Mapping) else {},
    )


def qdrant_home(app: App) -> Callable[[str], tuple[str, str | None] | None]:
    """A source's own server and key; None for what is no Qdrant."""

    def home(name: str) -> tuple[str, str | None] | None:
        source = app.config.sources.get(name)
        if not isinstance(source, QdrantSource):
            return None
        key = source.api_key
        return source.url, app.secrets.resolve(key).reveal() if key else None

    return home


def back_up_brought(app: App) -> Callable[[Mapping[str, Mapping[str, JSON]]], str]:
    """Makes a point in which these sources are cut where they were brought to, and all others are
    carried over; its id. Raises what a backup raises, and `SourceUnreadable` when one of them could
    not be cut: nothing may be brought home from an older cut.
    """

    def back_up_there(brought: Mapping[str, Mapping[str, JSON]]) -> str:
        config, weights = app.config, app.weights_sources
        sources = {
            name: open_source(
                name, _brought_source(config, name, place), app.secrets, clock=app.clock
            )
            for name, place in brought.items()
        }
        report = back_up(
            app.repository,
            Due(
                sources=sources,
                weights={},
                all_sources=tuple(name for name in config.sources if name not in weights),
                all_weights=tuple(weights),
                percent={name: source.anomaly_percent for name, source in config.sources.items()},
                tags=("failback",),
            ),
            service=config.service.name if config.service else None,
            arbiter=app.arbiter,
            stores=app.stores,
            min_copies=config.min_copies,
            own_files=app.own_files(),
            record_golden=None,
            work_dir=app.state_dir,
            clock=app.clock,
            emit=app.emit,
        )
        for name in brought:
            part = report.point.sources.get(name)
            if part is None or part.carried:
                raise SourceUnreadable(
                    f"{name} could not be cut where it lives now: "
                    f"{part.error if part else 'it is not in the point'}",
                    hint="mend it there, and resume the run; nothing was brought home",
                )
        return report.write.snapshot_id

    return back_up_there


def _brought_source(config: Config, name: str, place: Mapping[str, JSON]) -> SourceConfig:
    """The source's configuration, with the place it lives at now."""
    source = config.sources[name]
    match source:
        case TreeSource():
            return source.model_copy(update={"path": str(place["into"])})
        case QdrantSource() if source.restore_to is not None:
            made = place.get("collections")
            collections = tuple(map(str, made)) if isinstance(made, list) else None
            return source.model_copy(
                update={
                    "url": source.restore_to.url,
                    "api_key": source.restore_to.api_key,
                    "collections": collections,
                }
            )
        case _:
            raise ConfigError(
                f"{name} was brought elsewhere and cannot be backed up from there",
                hint=f"it lies in {place.get('into')}; bring it home by hand",
            )
