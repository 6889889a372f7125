"""Data that must stay in a part of the world: stores and targets outside are refused. Pure.

A folder, a host of one's own and a cluster lie where only the operator knows: they count as inside
unless a region is written for them. A rented GPU without a region may be anywhere; a bucket without
one is asked before a backup.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from drkit.config.places import LambdaProvider, RunpodProvider, Target, VastProvider
from drkit.config.references import Unresolved
from drkit.config.regions import Area, area_of
from drkit.config.sources import SourceConfig, WeightsSource
from drkit.config.stores import FolderStore, StoreConfig

_ANYWHERE = (LambdaProvider, RunpodProvider, VastProvider)
_ENDPOINT = re.compile(r"https?://(?:[^/]*\.)?s3[.-]([a-z0-9-]+)\.(?:backblazeb2|amazonaws)\.com")

Held = tuple[str, str, Area]
"""A store, a source that it would hold, and where that must stay."""


def outside(
    sources: Mapping[str, SourceConfig],
    stores: Mapping[str, StoreConfig],
    targets: Mapping[str, Target],
) -> list[Unresolved]:
    """Every place that a source with a `residency` must not be brought to, with the reason."""
    found: list[Unresolved] = []
    for store, source, residency in _held(sources, stores):
        region = _written(stores[store])
        if region is not None and (text := wrong(source, residency, region)):
            found.append((("stores", store, "region"), text, ()))
    for name, part in sources.items():
        if part.residency is not None:
            found += _targets(targets, name, part.residency)
    return found


def unwritten(sources: Mapping[str, SourceConfig], stores: Mapping[str, StoreConfig]) -> list[Held]:
    """The buckets of which nothing says where they lie, with what they would hold."""
    return [
        held
        for held in _held(sources, stores)
        if _written(stores[held[0]]) is None and not isinstance(stores[held[0]], FolderStore)
    ]


def _held(sources: Mapping[str, SourceConfig], stores: Mapping[str, StoreConfig]) -> Iterator[Held]:
    for source, part in sources.items():
        names = part.stores if isinstance(part, WeightsSource) else tuple(stores)
        for name in names if part.residency is not None else ():
            if name in stores:  # any other is told as a name that points at nothing
                assert part.residency is not None
                yield name, source, part.residency


def _written(store: StoreConfig) -> str | None:
    return store.region or region_of_endpoint(getattr(store, "endpoint", None))


def _targets(targets: Mapping[str, Target], source: str, residency: Area) -> Iterator[Unresolved]:
    for name, target in targets.items():
        for index, candidate in enumerate(target.candidates):
            if candidate.region is None and not isinstance(target.provider, _ANYWHERE):
                continue
            if text := wrong(source, residency, candidate.region):
                yield ("targets", name, "candidates", index, "region"), text, ()


def wrong(source: str, residency: Area, region: str | None) -> str | None:
    """Why `source` may not be brought to `region`; None: it may."""
    if region is None:
        return f"`{source}` must stay in {residency}, and nothing says where this is"
    if (area := area_of(region)) == residency:
        return None
    return f"`{source}` must stay in {residency}, and {region} is in {area}"


def region_of_endpoint(endpoint: str | None) -> str | None:
    """The region that an S3 endpoint of AWS or Backblaze names; None for any other one."""
    found = _ENDPOINT.match(endpoint or "")
    return found[1] if found else None
