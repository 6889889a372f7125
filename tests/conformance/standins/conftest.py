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
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

STARTS_WITHIN_S = 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PortTaken(AssertionError):
    """Somebody else listens there."""


def listens(pid: int, port: int) -> bool:
    """Whether that very process does: another one may have got the port first (proc(5))."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and _port_of(row[1]) == port}
    with suppress(OSError):
        return any(os.readlink(fd) in ours for fd in Path(f"/proc/{pid}/fd").iterdir())
    return False


def _port_of(address: str) -> int:
    return int(address.partition(":")[2], 16)


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
                said = self.log.read_text()
                raise (PortTaken if "in use" in said else AssertionError)(f"it ended: {said}")
            if listens(self.process.pid, self.port):
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
        if port is None and wait:
            for _ in range(3):  # a port that was free may not be any more
                with suppress(PortTaken):
                    return start_at(name, *options, port=free_port(), wait=True)
        return start_at(name, *options, port=port or free_port(), wait=wait)

    def start_at(name: str, *options: object, port: int, wait: bool) -> Server:
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
