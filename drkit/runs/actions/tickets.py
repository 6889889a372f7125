"""The one thing a rented machine is given: an expiring ticket for one model's plain weights (K4).

Its key is derived from the master key for this run, step and attempt (K3): never journaled, and
of no use for anything else (K1).
"""

from __future__ import annotations

from pathlib import Path

from drkit.config.models import Config
from drkit.config.sources import WeightsSource
from drkit.errors import ConfigError
from drkit.mirror.bootstrap import TICKET_KEY_VARIABLE
from drkit.mirror.manifest import Manifest
from drkit.mirror.read import find_manifest
from drkit.mirror.ticket import mint_ticket, presigners, seal_ticket
from drkit.runs.actions.interface import Context
from drkit.stores.durable import write_file
from drkit.stores.interface import Store


def weights_source(config: Config) -> WeightsSource:
    """The source that holds the service's weights. Raises `ConfigError`."""
    service = config.service
    source = config.sources.get(service.weights or "") if service else None
    if not isinstance(source, WeightsSource):
        raise ConfigError(
            "the service names no weights, and a machine that is rented cannot serve without them",
            hint="set service.weights to a source of kind weights with `mode: mirror`",
        )
    return source


def find_weights(context: Context, digest: str | None = None) -> tuple[Manifest, tuple[Store, ...]]:
    """The service's weights as the stores hold them, and the stores to fetch them from.

    Raises `NoMirror`, and `PlaceError` when no store can be read without a credential.
    """
    source = weights_source(context.config)
    stores = [store for store in context.stores if store.name in source.stores]
    manifest, holders = find_manifest(stores, source.model, source.revision, digest=digest)
    presigners(holders, manifest)
    return manifest, holders


def ticket_path(context: Context, step_id: str, attempt: str) -> Path:
    """Where the machine's bootstrap looks for its ticket."""
    return context.work_dir.absolute() / "tickets" / f"{step_id}-{attempt}"


def ticket_environment(context: Context, run_id: str, step_id: str, attempt: str) -> dict[str, str]:
    return {TICKET_KEY_VARIABLE: _key(context, run_id, step_id, attempt).hex()}


def leave_ticket(
    context: Context,
    run_id: str,
    step_id: str,
    attempt: str,
    *,
    expires_s: float,
    waits_at: str | None = None,
) -> Manifest:
    """Mints a fresh ticket and leaves it, sealed, where the bootstrap waits for it; whole or not
    at all. May be called again: the newer ticket replaces the older one.

    `waits_at`: the path that the machine was given, if it is not this run's own: of a run that was
    taken over, in the folder of the one that asked for it, where that can be reached.
    """
    manifest, holders = find_weights(context)
    ticket = mint_ticket(holders, manifest, expires_s=expires_s, clock=context.clock)
    sealed = seal_ticket(ticket, _key(context, run_id, step_id, attempt))
    path = ticket_path(context, step_id, attempt)
    if waits_at is not None and Path(waits_at).parts[-3:] == (run_id, *path.parts[-2:]):
        path = Path(waits_at) if Path(waits_at).parents[1].is_dir() else path
    write_file(path, sealed)
    return manifest


def _key(context: Context, run_id: str, step_id: str, attempt: str) -> bytes:
    return context.repository().key.derive(f"run/{run_id}/{step_id}/ticket-{attempt}")
