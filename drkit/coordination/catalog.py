"""Where lease, epoch and role record can lie in this version.

To add one: a `Place` in a file of its own, its opener here, its row in
tests/conformance/test_arbiter.py, and the proof that its conditional writes hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from drkit.clock import Clock
from drkit.config.secret_refs import check_references, references
from drkit.config.stores import (
    ArbiterConfig,
    FolderArbiter,
    FolderStore,
    PostgresArbiter,
    StoreArbiter,
    StoreConfig,
)
from drkit.coordination.arbiter import Place, PlacedArbiter
from drkit.coordination.folder import FolderPlace
from drkit.coordination.in_store import StorePlace
from drkit.coordination.interface import Arbiter, ArbiterProof
from drkit.coordination.proof import ProofNote, ProvenPlace
from drkit.coordination.sightings import FolderSightings
from drkit.errors import ConfigError, NotInThisVersion
from drkit.mounts import network_filesystem, read_mountinfo
from drkit.secrets.interface import Secrets
from drkit.stores.catalog import folder_root, open_store
from drkit.stores.interface import Conditional

Opener = Callable[[ArbiterConfig, Mapping[str, StoreConfig], Secrets, Clock], Place]


def open_arbiter(
    config: ArbiterConfig | None,
    stores: Mapping[str, StoreConfig],
    state_dir: Path,
    secrets: Secrets,
    clock: Clock,
) -> Arbiter:
    """The arbiter; without one in the configuration it is a folder in `state_dir`.

    `state_dir` also keeps when this machine saw each lease change. Raises `MissingCredential`,
    then `NotInThisVersion`, and `ConfigError` for a place that no arbiter may be on (R1).
    """
    sightings = FolderSightings(state_dir / "leases-seen")
    place = _open_place(config, stores, state_dir, secrets, clock)
    return PlacedArbiter(place, sightings, clock)


def refuse_skew(arbiter: Arbiter) -> None:
    """Raises `ClockSkewed` when the arbiter's place has a clock that this machine's is far from."""
    if isinstance(arbiter, PlacedArbiter):
        arbiter.refuse_skew()


def prove_arbiter(
    config: ArbiterConfig | None,
    stores: Mapping[str, StoreConfig],
    state_dir: Path,
    secrets: Secrets,
    clock: Clock,
) -> ArbiterProof:
    """Sees the arbiter compare before it writes, and keeps that in `state_dir`.

    Raises what `open_arbiter` raises, `GuardRefused` for a place that does not compare, and
    `ArbiterUnreachable`.
    """
    _open_place(config, stores, state_dir, secrets, clock).prove()
    found = kept_proof(config, stores, state_dir)
    assert found is not None
    return found


def kept_proof(
    config: ArbiterConfig | None, stores: Mapping[str, StoreConfig], state_dir: Path
) -> ArbiterProof | None:
    """What this machine has seen of the configured arbiter; None: nothing yet."""
    return _note(state_dir).load(configured_name(config, stores, state_dir))


def configured_name(
    config: ArbiterConfig | None, stores: Mapping[str, StoreConfig], state_dir: Path
) -> str:
    return place_name(_or_default(config, state_dir), stores)


def place_name(config: ArbiterConfig, stores: Mapping[str, StoreConfig]) -> str:
    """Which place it is, for people, and to tell one from another; no secret is in it."""
    match config:
        case FolderArbiter():
            return f"folder {config.path}"
        case PostgresArbiter():
            return f"PostgreSQL by {', '.join(config.url)}"
        case StoreArbiter():
            store = stores[config.store]
            where = (
                folder_root(store).absolute()
                if isinstance(store, FolderStore)
                else "/".join(filter(None, (store.endpoint, store.bucket, store.prefix)))
            )
            return f"store {config.store} ({store.kind} {where})"


def _or_default(config: ArbiterConfig | None, state_dir: Path) -> ArbiterConfig:
    return config or FolderArbiter(kind="folder", path=str(state_dir / "arbiter"))


def _note(state_dir: Path) -> ProofNote:
    return ProofNote(state_dir / "arbiter-proof.json")


def _open_place(
    given: ArbiterConfig | None,
    stores: Mapping[str, StoreConfig],
    state_dir: Path,
    secrets: Secrets,
    clock: Clock,
) -> ProvenPlace:
    config = _or_default(given, state_dir)
    check_references(references(config, at="arbiter"), secrets.missing)
    if isinstance(config, StoreArbiter):
        store = stores[config.store]
        check_references(references(store, at=f"stores.{config.store}"), secrets.missing)
    place = OPENERS[config.kind](config, stores, secrets, clock)
    return ProvenPlace(place, place_name(config, stores), _note(state_dir), clock)


def _open_folder(
    config: ArbiterConfig, _stores: Mapping[str, StoreConfig], _secrets: Secrets, _clock: Clock
) -> Place:
    assert isinstance(config, FolderArbiter)
    return _local_folder(Path(config.path).expanduser().absolute(), "arbiter.path")


def _open_in_store(
    config: ArbiterConfig, stores: Mapping[str, StoreConfig], secrets: Secrets, clock: Clock
) -> Place:
    assert isinstance(config, StoreArbiter)
    store = stores[config.store]
    if store.kind == "b2":
        raise ConfigError(
            f"arbiter: the store {config.store} is of kind b2, which has no conditional writes",
            hint="name a gcs or s3 store, a PostgreSQL database, or a local folder",
        )
    if isinstance(store, FolderStore):
        field = f"stores.{config.store}.path"
        return _local_folder(folder_root(store).absolute() / "arbiter", field)
    opened = open_store(config.store, store, secrets)
    if not isinstance(opened, Conditional):
        raise NotInThisVersion(
            f"arbiter in a {store.kind} store",
            hint="name a gcs or s3 store, a PostgreSQL database, or a local folder",
        )
    return StorePlace(opened, clock)


def _open_in_postgres(
    config: ArbiterConfig, _stores: Mapping[str, StoreConfig], secrets: Secrets, clock: Clock
) -> Place:
    from drkit.coordination.postgres import PostgresPlace

    assert isinstance(config, PostgresArbiter)
    return PostgresPlace(secrets.resolve(config.url).reveal(), clock)


OPENERS: Mapping[str, Opener] = {
    "folder": _open_folder,
    "store": _open_in_store,
    "postgres": _open_in_postgres,
}


def _local_folder(root: Path, field: str) -> FolderPlace:
    kind = network_filesystem(root, read_mountinfo())
    if kind is not None:
        raise ConfigError(
            f"{field}: {root} is on a network file system ({kind}), whose locks do not hold",
            hint="an arbiter in a folder is for one machine: name a local one",
        )
    return FolderPlace(root)
