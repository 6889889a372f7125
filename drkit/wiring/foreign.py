"""Opens a repository that is not this deployment's: to copy from it, never to write to it."""

from __future__ import annotations

from pathlib import Path

from drkit.config.load import load_config
from drkit.config.stores import FolderStore
from drkit.errors import ConfigError
from drkit.repository.format.layout import ROOT
from drkit.repository.repository import Repository, open_repository
from drkit.stores.catalog import open_store
from drkit.stores.interface import Store
from drkit.stores.moved import MovedStore
from drkit.wiring.app import App


def open_folder_repository(app: App, path: Path, password: str) -> Repository:
    """The restic repository in the folder `path`, or below it in `repository/`."""
    if not any((path / part / "config").is_file() for part in ("", ROOT)):
        raise ConfigError(f"{path} holds no restic repository", hint="name its folder")
    config = FolderStore(kind="folder", role="backup", path=str(path.resolve()))
    store: Store = open_store(path.name or "other", config, app.secrets)
    if (path / "config").is_file():
        store = MovedStore(store, ROOT)
    return open_repository([store], password, clock=app.clock, emit=app.emit, hostname=app.hostname)


def open_other_deployment(app: App, config_path: Path) -> Repository:
    """The repository of another schedules.yaml, with its own stores and secrets."""
    from drkit.config.local_paths import with_absolute_paths

    root = config_path.resolve().parent
    config = with_absolute_paths(load_config(config_path), root)
    return App(config, root, sandbox=False, emit=app.emit, clock=app.clock).repository


def open_one_store(app: App, name: str) -> Repository:
    """What one store of this deployment holds, by itself."""
    return open_repository(
        [app.store(name)], app.password, clock=app.clock, emit=app.emit, hostname=app.hostname
    )
