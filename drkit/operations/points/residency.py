"""A backup brings nothing where it must not lie: looked at again before anything is cut.

A store holds the whole repository, so one store outside stops all. Where the configuration does not
say where a bucket lies, the bucket is asked.
"""

from __future__ import annotations

from collections.abc import Callable

from drkit.config.models import Config
from drkit.config.residency import outside, unwritten, wrong
from drkit.errors import ConfigError, DrkitError
from drkit.stores.interface import Store


def refuse_outside(config: Config, store_of: Callable[[str], Store]) -> None:
    """ConfigError, naming place and source, unless every store lies where its sources must stay."""
    for path, text, _ in outside(config.sources, config.stores, config.targets):
        raise _refusal(".".join(map(str, path)), text)
    for store, source, residency in unwritten(config.sources, config.stores):
        if reason := wrong(source, residency, _region_of(store_of(store))):
            raise _refusal(f"stores.{store}.region", reason)


def _region_of(store: Store) -> str | None:
    """What the bucket says of itself; None where it says nothing, or may not be asked."""
    inspect = getattr(store, "inspect", None)
    try:
        region: str | None = inspect().region if inspect else None
    except DrkitError:
        return None
    return region


def _refusal(where: str, text: str) -> ConfigError:
    return ConfigError(
        f"{where}: {text}; nothing was cut",
        hint="write the region it lies in, or take the place out of the configuration",
    )
