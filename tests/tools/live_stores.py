"""Real buckets, where `LIVE_STORES` names a schedules.yaml: each of its stores joins the suite.

    LIVE_STORES=~/live/schedules.yaml python -m pytest tests/conformance/test_store.py -k live

Everything lies below a prefix of its own and is deleted at the end of each test.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from drkit.config.load import load_config
from drkit.config.stores import StoreConfig
from drkit.errors import DrkitError
from drkit.secrets.catalog import open_secrets
from drkit.stores.catalog import open_store
from drkit.stores.interface import Store

_ENVIRONMENT = dict(os.environ)  # tests see none of it


def live_stores() -> dict[str, Callable[[Path], Store]]:
    """An opener by name, as the suite takes them; none without `LIVE_STORES`."""
    named = _ENVIRONMENT.get("LIVE_STORES")
    if not named:
        return {}
    path = Path(named).expanduser()
    return {
        f"live-{name}": _opener(name, config, path.parent)
        for name, config in load_config(path).stores.items()
    }


def _opener(name: str, config: StoreConfig, root: Path) -> Callable[[Path], Store]:
    def open_it(_folder: Path) -> Store:
        prefix = f"{config.prefix.strip('/')}/drkit-test-{secrets.token_hex(6)}".strip("/")
        own = config.model_copy(update={"prefix": prefix})
        return open_store(name, own, open_secrets(root, environ=_ENVIRONMENT))

    return open_it


def clear(store: Store) -> None:
    """Deletes all that a test left; what cannot be deleted is left to the bucket's owner."""
    with suppress(DrkitError):
        for info in list(store.list("")):
            with suppress(DrkitError):
                store.delete(info.name)
