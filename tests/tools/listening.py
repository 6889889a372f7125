"""Servers that are processes of their own, on ports of loopback that stay theirs."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drkit.standins.processes import is_free

PROJECT = Path(__file__).parents[2]
STARTS_WITHIN_S = 60
# Below those that the system gives by itself, and beside those that a sandbox takes: what is free
# here stays free until a server is started on it.
_ports = iter(range(15_000, 20_000))
_marks: list[socket.socket] = []


def free_port() -> int:
    """A port that nobody listens on; no test that runs beside this one is given it, too."""
    for port in _ports:
        mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            mark.bind(f"\0drkit-tests-port-{port}")  # gone when this process is
        except OSError:
            mark.close()
            continue
        _marks.append(mark)
        if is_free("127.0.0.1", port):
            return port
    raise AssertionError("no port is left")


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    port: int
    log: Path
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def wait(self) -> Server:
        """Itself, once it listens. Fails with its log when it ended before that."""
        end_s = time.monotonic() + STARTS_WITHIN_S
        while True:
            assert self.process.poll() is None, f"it ended: {self.log.read_text()}"
            with suppress(OSError):
                socket.create_connection((self.host, self.port), timeout=1).close()
                return self
            assert time.monotonic() < end_s, f"it does not listen: {self.log.read_text()}"
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


def start(argv: Sequence[str], port: int, log: Path, **how: Any) -> Server:
    """`argv`, which is to listen on `port`; not waited for. `how` is `Popen`'s."""
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output, **how)
    return Server(process, port, log)


@contextmanager
def running(argv: Sequence[str], port: int, log: Path, **how: Any) -> Iterator[Server]:
    """`argv` from when it listens; it is ended, if it has not been by then."""
    server = start(argv, port, log, **how)
    try:
        yield server.wait()
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


def standin(name: str, port: int, *options: object) -> list[str]:
    """The command line of a stand-in."""
    where = ("--host", "127.0.0.1", "--port", str(port))
    return [sys.executable, "-m", f"drkit.standins.{name}", *where, *map(str, options)]


@contextmanager
def running_standin(name: str, log_folder: Path, *options: object) -> Iterator[Server]:
    port = free_port()
    log = log_folder / f"{name}-{port}.log"
    with running(standin(name, port, *options), port, log, cwd=PROJECT) as server:
        yield server
