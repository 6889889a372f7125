"""Which kinds of store this version opens.

To add one: the adapter in a file of its own, its opener in `OPENERS` (heavy SDKs are imported
inside the opener), five lines in tests/conformance/test_store.py, its policy in docs/.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from drkit.config import stores as configured
from drkit.config.secret_refs import check_references, references
from drkit.errors import NotInThisVersion
from drkit.stores.interface import Credentials, Store

Opener = Callable[[str, configured.StoreConfig, Credentials], Store]


def open_store(name: str, config: configured.StoreConfig, secrets: Credentials) -> Store:
    """The store; nothing is asked of it yet.

    Raises `MissingCredential`, naming all that lack, and after that `NotInThisVersion`.
    """
    check_references(references(config, at=f"stores.{name}"), secrets.missing)
    opener = OPENERS.get(config.kind)
    if opener is None:
        raise NotInThisVersion(
            config.kind,
            hint=f"stores.{name} is of a kind without an adapter yet; this version opens "
            f"{', '.join(sorted(OPENERS))}; --sandbox rehearses every kind",
        )
    return opener(name, config, secrets)


def folder_root(config: configured.FolderStore) -> Path:
    """Where a folder store's objects lie: its prefix below its path."""
    return Path(config.path).expanduser() / config.prefix.strip("/")


def _open_folder(name: str, config: configured.StoreConfig, _secrets: Credentials) -> Store:
    from drkit.stores.folder import FolderStore

    assert isinstance(config, configured.FolderStore)
    return FolderStore(name, folder_root(config))


def _open_gcs(name: str, config: configured.StoreConfig, secrets: Credentials) -> Store:
    from drkit.clock import SystemClock
    from drkit.http_wire import Route
    from drkit.pace import Throttle
    from drkit.stores.gcs.store import GcsStore, settings_of

    assert isinstance(config, configured.GcsStore)
    clock = SystemClock()
    sending, receiving = (
        Throttle(mib_per_s * 1024 * 1024, clock) if mib_per_s else None
        for mib_per_s in (config.upload_mib_per_s, config.download_mib_per_s)
    )
    return GcsStore(
        name,
        settings_of(config),
        secrets.resolve(config.credentials).reveal() if config.credentials else None,
        Route(proxy=config.proxy, ca_file=config.ca_file),
        clock,
        sending=sending,
        receiving=receiving,
    )


def _open_s3(name: str, config: configured.StoreConfig, secrets: Credentials) -> Store:
    from drkit.stores.s3.opening import open_s3

    assert isinstance(config, configured.S3Store)
    return open_s3(name, config, secrets)


def _open_b2(name: str, config: configured.StoreConfig, secrets: Credentials) -> Store:
    from drkit.stores.s3.opening import open_b2

    assert isinstance(config, configured.B2Store)
    return open_b2(name, config, secrets)


OPENERS: Mapping[str, Opener] = {
    "b2": _open_b2,
    "folder": _open_folder,
    "gcs": _open_gcs,
    "s3": _open_s3,
}
