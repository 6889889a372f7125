"""Cuts the sources that are due and writes one point of all of them into every store."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from drkit.clock import Clock
from drkit.errors import DrkitError
from drkit.events import Emit, Note, unnamed
from drkit.operations.points.cutting import NOTHING_FORESEEN, Due, Foreseen, cut_source
from drkit.points.anomaly import anomalies, dense_share
from drkit.points.find import CLOCKS_DIFFER, TAG, FoundPoint, newest_cuts, newest_point
from drkit.points.point import POINT_FILE, GoldenSet, Point, SourcePart, WeightsPart
from drkit.repository.backup.anomaly import ANOMALY_TAG
from drkit.repository.backup.archive import (
    FormerTree,
    FreshTree,
    RootReport,
    WriteReport,
    write_point,
)
from drkit.repository.format.tree import Node
from drkit.repository.levels.survey import list_stores
from drkit.repository.locks.locks import Locks
from drkit.repository.repository import Repository
from drkit.sources.interface import Cut, SourceUnreadable
from drkit.stores.interface import Store

if TYPE_CHECKING:
    from drkit.coordination.interface import Arbiter, RoleRecord

RecordGolden = Callable[[], GoldenSet]
_UNREADABLE_NAMED = 100
_ANOMALY_PERCENT = 50.0


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What was written. `whole`: every source readable, no store lagging; else exit status 3."""

    point: Point
    write: WriteReport
    weights_lagging: tuple[str, ...]

    @property
    def whole(self) -> bool:
        return (
            self.point.complete
            and all(result.complete for result in self.write.stores)
            and not self.weights_lagging
            and not any(
                part.unreadable or part.changing or part.error
                for part in self.point.sources.values()
            )
        )

    @property
    def anomalies(self) -> tuple[str, ...]:
        """What looks like an accident or an attack, by source; the point is kept, and flagged."""
        return tuple(
            f"{name}: {what}"
            for name, part in self.point.sources.items()
            if not part.carried
            for what in part.anomalies
        )


def back_up(
    repository: Repository,
    due: Due,
    *,
    service: str | None,
    arbiter: Arbiter | None,
    stores: Sequence[Store],
    min_copies: int,
    own_files: Mapping[str, bytes],
    record_golden: RecordGolden | None,
    work_dir: Path,
    clock: Clock,
    emit: Emit,
    locks: Locks | None = None,
    foreseen: Foreseen = NOTHING_FORESEEN,
) -> BackupReport:
    """One new point. A source that cannot be cut keeps its former subtree and cut time.

    `arbiter`: None where there is no service: nobody is asked who serves.
    `locks`: shared ones, where somebody took them before; else they are taken when the sources
    are cut. `foreseen`: what was cut and seen meanwhile. Raises `TooFewCopies` when fewer than
    `min_copies` stores hold the point.
    """
    epoch, role, role_tags = _epoch(arbiter, service, work_dir, clock, emit)
    # one request a store for all that follows
    repository.use_listings(locks.listings if locks else list_stores(repository, emit))
    former = newest_point(repository, clock.now(), role)
    _tell_points_to_come(repository, clock, emit)
    weights, lagging = _mirror(due, former, stores, work_dir / "cache", clock, emit)
    golden = _golden(record_golden, weights, former, emit)
    spool = work_dir / "spool" / str(os.getpid())  # backups may run side by side
    _sweep(spool.parent)
    try:
        cuts, errors = _cut(due, foreseen, spool, emit)
        now = clock.now()
        uncut = set(due.all_sources) - cuts.keys()
        carried = newest_cuts(repository, uncut, former, now, role) if former else {}
        roots = _roots(repository, due, cuts, foreseen, former, carried)
        written: list[Point] = []

        def finish(reports: Mapping[str, RootReport]) -> Mapping[str, bytes]:
            parts = _parts(due, cuts, errors, reports, former, carried)
            point = Point(
                service=service,
                epoch=epoch,
                created_at=now,
                complete=set(parts) == set(due.all_sources)
                and set(weights) == set(due.all_weights),
                sources=parts,
                weights=weights,
                golden=golden,
            )
            written.append(point)
            return {POINT_FILE: point.to_bytes(), **own_files}

        report = write_point(
            repository,
            roots,
            finish=finish,
            tags=(TAG, f"epoch:{epoch}", *role_tags, *due.tags),
            flags=lambda _reports: _flags(written[0], emit),
            compare=due.compare,
            locks=locks,
            time=now,
            parent=former.listed if former else None,
            min_copies=min_copies,
            emit=emit,
        )
    finally:
        shutil.rmtree(spool, ignore_errors=True)
    return BackupReport(written[0], report, lagging)


def _epoch(
    arbiter: Arbiter | None, service: str | None, state_dir: Path, clock: Clock, emit: Emit
) -> tuple[int, RoleRecord | None, tuple[str, ...]]:
    """The epoch of the role record, read before anything else (R2), and the record; while the
    arbiter is away the epoch of the last one read, and the point says so (R1).
    """
    if service is None or arbiter is None:
        return 0, None, ()
    from drkit.operations.roles import machine_memory, read_role

    seen = read_role(arbiter, service, machine_memory(state_dir), clock)
    epoch = seen.role.epoch if seen.role else 0
    if seen.unconfirmed is None:
        return epoch, seen.role, ()
    text = f"{seen.unconfirmed}; the point is tagged role-unconfirmed"
    emit(Note("warning", "arbiter", text))
    return epoch, None, ("role-unconfirmed",)


def _tell_points_to_come(repository: Repository, clock: Clock, emit: Emit) -> None:
    """The newest snapshot, where it is of a time that is to come: it hides what is written now."""
    newest = next(
        (one for one in reversed(repository.snapshots()) if TAG in one.snapshot.tags), None
    )
    if newest and newest.snapshot.time > clock.now() + CLOCKS_DIFFER:
        text = (
            f"point {newest.id[:8]} is of {newest.snapshot.time:%Y-%m-%d %H:%M} UTC, which is to "
            "come, and counts as the latest until then. Is this machine's clock right? Then it was "
            f"wrong when that one was cut: drkit forget {newest.id[:8]}"
        )
        emit(Note("warning", "clock", text))


def _mirror(
    due: Due,
    former: FoundPoint | None,
    stores: Sequence[Store],
    cache: Path,
    clock: Clock,
    emit: Emit,
) -> tuple[dict[str, WeightsPart], tuple[str, ...]]:
    parts: dict[str, WeightsPart] = {}
    lagging: list[str] = []
    for name in due.all_weights:
        source = due.weights.get(name)
        if source is not None:
            from drkit.mirror.write import mirror_weights

            try:
                cut_at = clock.now()
                report = mirror_weights(
                    Path(source.path),
                    model=source.model,
                    revision=source.revision,
                    stores=[store for store in stores if store.name in source.stores],
                    cache=cache / f"{name}.json",
                    emit=emit,
                )
                whole = tuple(result.store for result in report.stores if result.complete)
                lagging += [
                    f"{name} on {result.store}: {result.reason}"
                    for result in report.stores
                    if not result.complete
                ]
                if whole:
                    parts[name] = WeightsPart(
                        model=source.model,
                        revision=source.revision,
                        manifest_digest=report.manifest.digest,
                        files=len(report.manifest.files),
                        bytes=report.manifest.total_bytes,
                        stores=whole,
                        cut_at=cut_at,
                    )
            except (DrkitError, OSError) as error:
                emit(Note("error", name, str(error)))
                lagging.append(f"{name}: {error}")
        if name not in parts and former and name in former.point.weights:
            parts[name] = former.point.weights[name]
    return parts, tuple(lagging)


def _golden(
    record: RecordGolden | None,
    weights: Mapping[str, WeightsPart],
    former: FoundPoint | None,
    emit: Emit,
) -> GoldenSet | None:
    """The recorded answers, made anew when the weights are other ones."""
    kept = former.point.golden if former else None
    before = {part.manifest_digest for part in former.point.weights.values()} if former else set()
    if kept and before == {part.manifest_digest for part in weights.values()}:
        return kept
    if record is None:
        return kept
    try:
        return record()
    except DrkitError as error:
        emit(Note("warning", "golden answers", f"not recorded: {error.message}"))
        return None


def _cut(
    due: Due, foreseen: Foreseen, spool: Path, emit: Emit
) -> tuple[dict[str, Cut], dict[str, str]]:
    cuts: dict[str, Cut] = {}
    errors: dict[str, str] = {}
    for name, source in due.sources.items():
        if name in foreseen.cuts:
            cuts[name] = foreseen.cuts[name]
            continue
        folder = spool / name
        folder.mkdir(parents=True)
        try:
            cuts[name] = cut_source(source, due.excludes, folder, emit)
        except SourceUnreadable as error:
            emit(Note("error", name, f"{unnamed(name, error.message)}; {error.hint}"))
            errors[name] = error.message
    return cuts, errors


def _roots(
    repository: Repository,
    due: Due,
    cuts: Mapping[str, Cut],
    foreseen: Foreseen,
    former: FoundPoint | None,
    carried: Mapping[str, FoundPoint],
) -> dict[str, FreshTree | FormerTree]:
    nodes: dict[str, Node] = {}
    if former:
        for node in repository.load_tree(former.listed.snapshot.tree):
            nodes[node.name.decode()] = node
    roots: dict[str, FreshTree | FormerTree] = {}
    for name in due.all_sources:
        if name in cuts:
            cut, ahead = cuts[name], foreseen.trees.get(name)
            roots[name] = FreshTree(cut.root, cut.exclude, nodes.get(name), ahead)
        elif (found := carried.get(name, former)) is not None and found is not former:
            node = repository.find_node(found.listed.snapshot, f"/{name}")
            roots[name] = FormerTree(node, of=found.id)
        elif name in nodes:
            roots[name] = FormerTree(nodes[name])
    return roots


def _parts(
    due: Due,
    cuts: Mapping[str, Cut],
    errors: Mapping[str, str],
    reports: Mapping[str, RootReport],
    former: FoundPoint | None,
    carried: Mapping[str, FoundPoint],
) -> dict[str, SourcePart]:
    parts: dict[str, SourcePart] = {}
    for name in due.all_sources:
        report, cut = reports.get(name), cuts.get(name)
        before = former.point.sources.get(name) if former else None
        if cut is not None and report is not None and report.error is None:
            part = SourcePart(
                kind=due.sources[name].kind,
                path=f"/{name}",
                cut_at=cut.cut_at,
                files=report.files,
                bytes=report.bytes,
                facts=dict(cut.facts),
                unreadable=tuple(p for p, _ in report.unreadable[:_UNREADABLE_NAMED]),
                changing=tuple(p for p, _ in report.changing[:_UNREADABLE_NAMED]),
                dense_share=dense_share(
                    before,
                    size_bytes=report.bytes,
                    new_bytes=report.new_bytes,
                    dense_bytes=report.dense_bytes,
                ),
            )
            percent = due.percent.get(name, _ANOMALY_PERCENT)
            if before is not None and percent is not None:
                part = part.model_copy(update={"anomalies": anomalies(before, part, percent)})
            parts[name] = part
        elif former and name in former.point.sources:
            error = errors.get(name) or (report.error if report else None)
            earlier = carried.get(name, former).point.sources[name]
            parts[name] = earlier.model_copy(update={"carried": True, "error": error})
    return parts


def _flags(point: Point, emit: Emit) -> tuple[str, ...]:
    """The tag of a point that looks like an accident: nothing expires until it is acknowledged."""
    found = [
        (name, what)
        for name, part in point.sources.items()
        if not part.carried
        for what in part.anomalies
    ]
    for name, what in found:
        emit(Note("error", name, f"{what}; nothing expires until you have looked: drkit ack"))
    return (ANOMALY_TAG,) if found else ()


def _sweep(spools: Path) -> None:
    """Removes what killed backups left: folders named after processes that are no more."""
    for left in spools.glob("*"):
        if left.name == str(os.getpid()) or not Path("/proc", left.name).exists():
            shutil.rmtree(left, ignore_errors=True)
