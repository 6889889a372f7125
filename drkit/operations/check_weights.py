"""Reads every byte of the mirrored weights, and mends what one store has wrong from another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from drkit.config.sources import WeightsSource
from drkit.errors import PlaceError
from drkit.events import Emit, Note
from drkit.mirror.read import NoMirror, find_manifest
from drkit.mirror.repair import WeightsRepair, repair_weights
from drkit.stores.interface import Store


def check_weights(
    sources: Mapping[str, WeightsSource], stores: Sequence[Store], *, repair: bool, emit: Emit
) -> tuple[WeightsRepair, ...]:
    """What is wrong in the mirrors of `sources` among `stores`, mended with `repair`.

    A source that no store mirrors whole is told, and is no finding: `drkit status` counts it.
    """
    found: list[WeightsRepair] = []
    for name, source in sources.items():
        mirrors = [store for store in stores if store.name in source.stores]
        if not mirrors:
            continue
        try:
            manifest, _ = find_manifest(mirrors, source.model, source.revision)
        except (NoMirror, PlaceError) as error:
            emit(Note("warning", name, f"{error.message}; its weights were not checked"))
            continue
        found += repair_weights(manifest, mirrors, emit, dry_run=not repair)
    return tuple(found)
