"""A deployment on this machine: two folder stores, one local target, and a gateway with a drill;
and what is synced.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drkit.clock import ManualClock
from drkit.config.models import Config
from drkit.events import Event
from drkit.repository.format.keys import ScryptCost
from drkit.repository.repository import init_repository
from drkit.wiring import App

GPU = {"kind": "local", "path": "gpu", "host": "127.0.0.1", "argv": ["serve"]}
VALUES: dict[str, Any] = {
    "drkit": 1,
    "stores": {
        "one": {"kind": "folder", "role": "primary", "path": "stores/one"},
        "two": {"kind": "folder", "role": "backup", "path": "stores/two"},
    },
    "repository": {"password": ["env:NOT_SET", "file:password"]},
    "sources": {
        "notes": {"kind": "tree", "path": "notes"},
        "vectors": {
            "kind": "qdrant",
            "url": "http://127.0.0.1:1",
            "restore_to": {"url": "http://127.0.0.1:2", "api_key": "file:password"},
        },
        "model": {
            "kind": "weights",
            "path": "model",
            "model": "m",
            "revision": "1",
            "stores": ["one"],
        },
    },
    "sites": {"gpu": {"provider": GPU, "endpoint": "http://127.0.0.1:8000"}, "vm": {}},
    "service": {
        "name": "assistant",
        "model": "m",
        "weights": "model",
        "primary": "gpu",
        "api_key": "file:key",
    },
    "targets": {"spare": {"provider": GPU, "candidates": [{"gpu": "L40", "max_usd_per_hour": 1}]}},
    "switch": {
        "gateway": {"kind": "http", "url": "http://127.0.0.1:3", "drill_url": "http://127.0.0.1:4"},
        "plain": {"kind": "http", "url": "http://127.0.0.1:5"},
    },
}

Open = Callable[..., App]


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def open_app(tmp_path: Path, events: list[Event]) -> Open:
    """(sandbox=False, **changes of the configuration) -> App below `tmp_path`."""
    (tmp_path / "password").write_text("correct horse\n")
    (tmp_path / "runbooks").mkdir()
    (tmp_path / "runbooks" / "lost.yaml").write_text("drkit: 1\n")

    def opened(*, sandbox: bool = False, **changes: Any) -> App:
        config = Config.model_validate(VALUES | changes)
        return App(config, tmp_path, sandbox=sandbox, emit=events.append, clock=ManualClock())

    return opened


@pytest.fixture
def app(open_app: Open) -> App:
    """The deployment with its repository, whose key costs little."""
    app = open_app()
    cost = ScryptCost(1024, 8, 1)
    init_repository(app.stores, app.password, clock=app.clock, hostname="h", cost=cost)
    return app


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that were synced to the disk, in their order."""
    found: list[str] = []
    real = os.fsync

    def note(handle: int) -> None:
        found.append(os.readlink(f"/proc/self/fd/{handle}"))
        real(handle)

    monkeypatch.setattr(os, "fsync", note)
    return found
