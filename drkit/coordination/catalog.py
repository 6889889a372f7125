"""Which kinds of arbiter this version opens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from drkit.clock import Clock
from drkit.config.secret_refs import check_references, references
from drkit.config.stores import ArbiterConfig, FolderStore, StoreArbiter, StoreConfig
from drkit.config.stores import FolderArbiter as FolderArbiterConfig
from drkit.coordination.folder import FolderArbiter
from drkit.coordination.interface import Arbiter
from drkit.errors import NotInThisVersion
from drkit.secrets.interface import Secrets


def open_arbiter(
    config: ArbiterConfig | None,
    *,
    stores: Mapping[str, StoreConfig],
    state_dir: Path,
    secrets: Secrets,
    clock: Clock,
) -> Arbiter:
    """The arbiter; without one configured, a folder in `state_dir`. Raises `NotInThisVersion`."""
    if config is None:
        return FolderArbiter(state_dir / "arbiter", clock)
    check_references(references(config, at="arbiter"), secrets.missing)
    if isinstance(config, FolderArbiterConfig):
        return FolderArbiter(Path(config.path), clock)
    kind = config.kind
    if isinstance(config, StoreArbiter):
        store = stores[config.store]
        if isinstance(store, FolderStore):
            root = Path(store.path).expanduser() / store.prefix.strip("/")
            return FolderArbiter(root / "arbiter", clock)
        kind = f"store arbiter on {store.kind}"  # type: ignore[assignment]
    raise NotInThisVersion(
        kind, hint="this version has arbiters in a folder, or in a store of kind folder"
    )
