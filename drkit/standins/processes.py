"""The sandbox's processes: started apart, known again by pid and start time, stopped for sure."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import orjson

from drkit.errors import PlaceError
from drkit.runs.process import lives, started_mark

_READY_WITHIN_S = 30.0
_STOPS_WITHIN_S = 5.0
_PORTS = range(20000, 32000)  # below those that outgoing connections take


@dataclass(frozen=True, slots=True)
class Started:
    """A process of the sandbox. `mark` tells it from a later one with the same pid; one that was
    `killed` on purpose stays dead until the sandbox goes down.
    """

    name: str
    pid: int
    mark: str | None
    host: str
    port: int
    killed: bool = False

    @property
    def lives(self) -> bool:
        return lives(self.pid, self.mark)


class Processes:
    """What runs, remembered in one file that is replaced whole."""

    def __init__(self, root: Path) -> None:
        self._file = root / "processes.json"
        self._logs = root / "logs"

    def all(self) -> dict[str, Started]:
        try:
            return {row["name"]: Started(**row) for row in orjson.loads(self._file.read_bytes())}
        except FileNotFoundError:
            return {}

    def start(
        self,
        name: str,
        module: str,
        host: str,
        port: int,
        arguments: Sequence[str | Path],
        *,
        revive: bool = False,
    ) -> Started:
        """Starts `python -m module` unless it runs already, or was killed and `revive` is not
        given. It is remembered before it is ready.
        """
        known = self.all()
        if name in known and (known[name].lives or (known[name].killed and not revive)):
            return known[name]
        self._logs.mkdir(parents=True, exist_ok=True)
        argv = [sys.executable, "-m", module, "--host", host, "--port", str(port)]
        with (self._logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [*argv, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        started = Started(name, process.pid, started_mark(process.pid), host, port)
        self._remember({**known, name: started})
        return started

    def wait_ready(self, names: Sequence[str]) -> None:
        """Returns when all answer on their ports. Raises `PlaceError` with a log's last lines."""
        until_s = time.monotonic() + _READY_WITHIN_S
        for name in names:
            started = self.all()[name]
            while not started.killed and not _answers(started.host, started.port):
                if not started.lives or time.monotonic() > until_s:
                    raise PlaceError(
                        f"the sandbox's {name} did not start: {self._last_words(name)}",
                        hint="start anew: drkit sandbox reset",
                    )
                time.sleep(0.02)

    def kill(self, name: str) -> None:
        """Ends the process at once, as a machine that is taken away."""
        known = self.all()
        self._remember({**known, name: replace(known[name], killed=True)})
        self._end([known[name]], signal.SIGKILL)

    def stop_all(self) -> None:
        """Asks all to stop, and ends those that do not."""
        self._end(list(self.all().values()), signal.SIGTERM)
        self._remember({})

    def _end(self, processes: Sequence[Started], how: signal.Signals) -> None:
        for started in processes:
            _signal(started, how)
        until_s = time.monotonic() + _STOPS_WITHIN_S
        while any(_still_there(started) for started in processes):
            if time.monotonic() > until_s:
                for started in processes:
                    _signal(started, signal.SIGKILL)
                until_s += _STOPS_WITHIN_S
            time.sleep(0.02)

    def _remember(self, processes: Mapping[str, Started]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        partial = self._file.with_suffix(".partial")
        partial.write_bytes(orjson.dumps([asdict(started) for started in processes.values()]))
        partial.replace(self._file)

    def _last_words(self, name: str) -> str:
        try:
            lines = (self._logs / f"{name}.log").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return "it wrote no log"
        return " / ".join(lines[-3:])


def free_port(hosts: Sequence[str] = ("127.0.0.1",)) -> int:
    """A port that is free now on every one of `hosts`, for TCP and UDP."""
    while True:
        port = random.SystemRandom().choice(_PORTS)
        if all(is_free(host, port) for host in hosts):
            return port


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there, for TCP and UDP."""
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind) as probe:
                if kind == socket.SOCK_STREAM:  # what a closed connection still holds is free
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
    except OSError:
        return False
    return True


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def _signal(started: Started, how: signal.Signals) -> None:
    if started.lives:
        try:
            os.killpg(started.pid, how)
        except ProcessLookupError:
            return


def _still_there(started: Started) -> bool:
    """Also reaps it, if it is a child of this process."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(started.pid, os.WNOHANG)
    return started.lives
