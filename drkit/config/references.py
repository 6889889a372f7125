"""Names that link the parts of the configuration: what each must point at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from drkit.config.sources import HERE, WeightsSource
from drkit.config.stores import StoreArbiter

if TYPE_CHECKING:
    from drkit.config.models import Config

Unresolved = tuple[tuple[str | int, ...], str, tuple[str, ...]]
"""(path, what is wrong, the names there are)"""


def unresolved(config: Config) -> list[Unresolved]:
    """Every name that points at nothing."""
    return [*_sources(config), *_service(config), *_rest(config)]


def _sources(config: Config) -> Iterator[Unresolved]:
    for name, source in config.sources.items():
        if source.lives_on != HERE:
            yield from _check(("sources", name, "lives_on"), source.lives_on, "sites", config.sites)
        if isinstance(source, WeightsSource):
            for index, store in enumerate(source.stores):
                path = ("sources", name, "stores", index)
                yield from _check(path, store, "stores", config.stores)


def _service(config: Config) -> Iterator[Unresolved]:
    if config.service is None:
        return
    yield from _check(("service", "primary"), config.service.primary, "sites", config.sites)
    weights = [n for n, source in config.sources.items() if isinstance(source, WeightsSource)]
    if config.service.weights is not None and config.service.weights not in weights:
        text = f"`{config.service.weights}` is no source of kind weights"
        yield ("service", "weights"), text, tuple(weights)


def _rest(config: Config) -> Iterator[Unresolved]:
    for name in sorted(set(config.sites) & set(config.targets)):
        yield ("targets", name), "this name is a site too; each place has one name", ()
    if isinstance(config.arbiter, StoreArbiter):
        yield from _check(("arbiter", "store"), config.arbiter.store, "stores", config.stores)
    if config.decide.to is not None:
        yield from _check(("decide", "to"), config.decide.to, "targets", config.targets)
    for name in config.cost.loads:
        yield from _check(("cost", "loads", name), name, "sources", config.sources)
    for name in config.cost.prices:
        yield from _check(("cost", "prices", name), name, "stores", config.stores)
    for name, job in config.schedules.items():
        if job.to is not None:
            yield from _check(("schedules", name, "to"), job.to, "targets", config.targets)
        for index, source in enumerate(job.sources):
            path = ("schedules", name, "sources", index)
            yield from _check(path, source, "sources", config.sources)


def _check(
    path: tuple[str | int, ...], name: str, section: str, known: Iterable[str]
) -> Iterator[Unresolved]:
    if name not in known:
        yield path, f"`{name}` is not in `{section}`", tuple(known)
