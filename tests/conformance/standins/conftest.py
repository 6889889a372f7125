"""Each stand-in runs as it does in the sandbox: its own process, on loopback, in its own folder."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import listening
import pytest
from listening import Server, free_port, standin

Start = Callable[..., Server]

SPECS = os.environ.get("DRKIT_SPECS")  # read here: no test sees the environment of who runs it
_OPENAPI = Path(__file__).parents[2] / "tools" / "openapi.py"


@pytest.fixture(scope="session")
def published() -> Any:
    """Qdrant's published API description, a `PublishedApi`; None when it is not at hand."""
    if not SPECS:
        return None
    spec = importlib.util.spec_from_file_location("openapi", _OPENAPI)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.PublishedApi.read(Path(SPECS) / "qdrant-openapi.json")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts `python -m drkit.standins.<name>` with these options; all of them are ended."""
    started: list[Server] = []

    def start_one(
        name: str, *options: object, port: int | None = None, wait: bool = True
    ) -> Server:
        port = port or free_port()
        log = tmp_path / f"{name}-{len(started)}.log"
        how = {"env": os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}}
        started.append(listening.start(standin(name, port, *options), port, log, **how))
        return started[-1].wait() if wait else started[-1]

    yield start_one
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()
