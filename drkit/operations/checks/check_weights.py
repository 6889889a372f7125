"""Looks at mirrored weights as listed, or reads them back, all of them or by turns; and mends one
copy from another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

from drkit.config.checks import Checks
from drkit.config.sources import WeightsSource
from drkit.errors import PlaceError
from drkit.events import Emit, Note
from drkit.mirror.manifest import FileEntry, Manifest
from drkit.mirror.read import NoMirror, best_manifest
from drkit.mirror.repair import MirrorCheck, check_listed, check_mirror
from drkit.operations.checks.reading_log import read_logs, weights_log, write_logs
from drkit.repository.check.read_turns import ReadLog, after_reading, due_turns, log_of
from drkit.repository.check.reading_choice import turn_of
from drkit.stores.interface import Store


@dataclass(frozen=True, slots=True)
class WeightsCheck:
    """The copy of `source` in one store. `log`: what was read when, where turns are kept."""

    source: str
    mirror: MirrorCheck
    log: ReadLog | None = None

    @property
    def damaged(self) -> bool:
        """Whether something is wrong there still."""
        return any(repair.what and not repair.healed_from for repair in self.mirror.repairs)


def check_weights(
    sources: Mapping[str, WeightsSource],
    stores: Sequence[Store],
    *,
    read: bool,
    repair: bool,
    emit: Emit,
) -> tuple[WeightsCheck, ...]:
    """The mirrors of `sources` among `stores`: every byte with `read`, else that each file is there
    with its size. With `repair` what one has wrong is mended from another.

    A source of which no store has a manifest is told, and is no finding: `drkit status` counts it.
    """
    found = []
    for name, manifest, mirrors in _mirrored(sources, stores, emit):
        for store in mirrors:
            if read or repair:
                mirror = check_mirror(
                    manifest, store, mirrors, emit, wanted=lambda _: read, dry_run=not repair
                )
            else:
                mirror = check_listed(manifest, store, emit)
            found.append(WeightsCheck(name, mirror))
    return tuple(found)


def check_due_weights(
    sources: Mapping[str, WeightsSource],
    stores: Sequence[Store],
    within: Checks,
    *,
    cheapest: Sequence[str],
    today: date,
    state_dir: Path,
    repair: bool,
    emit: Emit,
) -> tuple[WeightsCheck, ...]:
    """As `check_weights`, with the files that are due `today`: each once in the days that `within`
    says, of each source's own stores the one that comes first in `cheapest` more often than the
    others. That each file is there with its size is looked at in every store, every time.

    A turn counts as read when the store answered all of it, and nothing in it stays damaged; else
    it is due again the next day.
    """
    found = []
    for name, manifest, mirrors in _mirrored(sources, stores, emit):
        holders = [store for store in cheapest if store in sources[name].stores]
        days = within.days(holders)
        path = weights_log(state_dir, name)
        logs = read_logs(path, of=manifest.digest)  # another revision: all of it is new
        for store in sorted(mirrors, key=lambda store: holders.index(store.name)):
            of = days.get(store.name)
            log = log_of(logs.get(store.name), of, today) if of else None
            turns = due_turns(log, today) if log else frozenset()
            wanted = partial(_is_due, turns, of or 1)
            mirror = check_mirror(manifest, store, mirrors, emit, wanted=wanted, dry_run=not repair)
            if log and mirror.answered:
                damaged = {r.path for r in mirror.repairs if not r.healed_from}
                stay = {turn_of(f.sha256, log.of) for f in manifest.files if f.path in damaged}
                log = logs[store.name] = after_reading(log, turns - stay, today)
                kept = {each: logs[each] for each in days if each in logs}
                write_logs(path, kept, of=manifest.digest)
            found.append(WeightsCheck(name, mirror, log))
    return tuple(found)


def _is_due(turns: frozenset[int], of: int, entry: FileEntry) -> bool:
    """A file's turn comes by its content alone, as a pack's does."""
    return turn_of(entry.sha256, of) in turns


def _mirrored(
    sources: Mapping[str, WeightsSource], stores: Sequence[Store], emit: Emit
) -> Iterator[tuple[str, Manifest, list[Store]]]:
    """Each source that is mirrored on some of `stores`, with its manifest and these stores."""
    for name, source in sources.items():
        mirrors = [store for store in stores if store.name in source.stores]
        if not mirrors:
            continue
        try:
            yield name, best_manifest(mirrors, source.model, source.revision), mirrors
        except (NoMirror, PlaceError) as error:
            emit(Note("warning", name, f"{error.message}; its weights were not checked"))
