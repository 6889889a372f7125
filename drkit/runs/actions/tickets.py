"""The one thing a rented machine is given: an expiring ticket for one model's plain weights (K4).

Its key is derived from the master key for this run, step and attempt (K3): never journaled, and
of no use for anything else (K1).
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from drkit.config.sources import WeightsSource
from drkit.errors import ConfigError, PlaceError
from drkit.mirror.bootstrap import TICKET_KEY_VARIABLE
from drkit.mirror.manifest import Manifest
from drkit.mirror.read import find_manifest
from drkit.mirror.ticket import mint_ticket, seal_ticket
from drkit.runs.actions.interface import Context
from drkit.stores.durable import write_file
from drkit.stores.interface import Presigner


def weights_source(context: Context) -> WeightsSource:
    """The source that holds the service's weights. Raises `ConfigError`."""
    service = context.config.service
    source = context.config.sources.get(service.weights or "") if service else None
    if not isinstance(source, WeightsSource):
        raise ConfigError(
            "the service names no weights, and a target cannot serve without them",
            hint="set service.weights to a source of kind weights",
        )
    return source


def find_weights(context: Context, digest: str | None = None) -> tuple[Manifest, Presigner]:
    """The service's weights as the stores hold them, and a store to fetch them from."""
    source = weights_source(context)
    stores = [store for store in context.stores if store.name in source.stores]
    manifest, holders = find_manifest(stores, source.model, source.revision, digest=digest)
    for store in holders:
        if hasattr(store, "presign"):
            return manifest, cast(Presigner, store)
    raise PlaceError(
        f"no store with {source.model} can be read without a credential",
        hint="mirror the weights to a store that makes expiring addresses",
    )


def ticket_path(context: Context, step_id: str, attempt: str) -> Path:
    """Where the machine's bootstrap looks for its ticket."""
    return context.work_dir.absolute() / "tickets" / f"{step_id}-{attempt}"


def ticket_environment(context: Context, run_id: str, step_id: str, attempt: str) -> dict[str, str]:
    return {TICKET_KEY_VARIABLE: _key(context, run_id, step_id, attempt).hex()}


def leave_ticket(
    context: Context, run_id: str, step_id: str, attempt: str, *, expires_s: float
) -> Manifest:
    """Mints a fresh ticket and leaves it, sealed, where the bootstrap waits for it; whole or not
    at all. May be called again: the newer ticket replaces the older one.
    """
    manifest, store = find_weights(context)
    ticket = mint_ticket(store, manifest, expires_s=expires_s, clock=context.clock)
    sealed = seal_ticket(ticket, _key(context, run_id, step_id, attempt))
    path = ticket_path(context, step_id, attempt)
    write_file(path, sealed)
    return manifest


def _key(context: Context, run_id: str, step_id: str, attempt: str) -> bytes:
    return context.repository().key.derive(f"run/{run_id}/{step_id}/ticket-{attempt}")
