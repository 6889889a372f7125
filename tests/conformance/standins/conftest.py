"""Each stand-in runs as it does in the sandbox: its own process, on loopback, in its own folder."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

STARTS_WITHIN_S = 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    host: str
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def wait(self) -> Server:
        deadline = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"it ended: {self.log.read_text()}")
            with socket.socket() as probe:
                if probe.connect_ex((self.host, self.port)) == 0:
                    return self
            time.sleep(0.02)
        raise AssertionError(f"it does not listen: {self.log.read_text()}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(10)


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
        with log.open("wb") as output:
            argv = [sys.executable, "-m", f"drkit.standins.{name}"]
            argv += ["--host", "127.0.0.1", "--port", str(port), *map(str, options)]
            process = subprocess.Popen(
                argv,
                stdout=output,
                stderr=output,
                env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
            )
        server = Server(process, "127.0.0.1", port, log)
        started.append(server)
        return server.wait() if wait else server

    yield start_one
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait(10)
