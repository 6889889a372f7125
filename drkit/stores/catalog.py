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


OPENERS: Mapping[str, Opener] = {
    "folder": _open_folder,
}
