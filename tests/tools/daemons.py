"""Real daemons of one deployment on machines of their own, and the little service they watch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

PROJECT = Path(__file__).resolve().parents[2]
LONGEST_EFFECT_S = 4.0
"""Stands for `io_policy.LONGEST_EFFECT_S`, so that what T3 waits for is not a minute."""

_SITE = f"""
import os
import datetime
import drkit.io_policy
drkit.io_policy.LONGEST_EFFECT_S = {LONGEST_EFFECT_S}
if skew := float(os.environ.get("TEST_SKEW_S", "0")):
    import drkit.clock
    real = drkit.clock.SystemClock.now
    shift = datetime.timedelta(seconds=skew)
    drkit.clock.SystemClock.now = lambda self: real(self) + shift
"""

CONFIG = """\
drkit: 1
stores: {stores}
repository: {{password: "file:{root}/password"}}
sources:
  notes: {{kind: tree, path: {root}/notes}}
sites:
  lambda: {{endpoint: "{model}"}}
service: {{name: chat, model: m, primary: lambda, external: {{model: ext}}}}
switch:
  gateway: {{kind: http, url: "{gateway}"}}
arbiter: {arbiter}
probe: {{down_after: 2, down_after_s: 1s, suspect_every: 500ms, up_after: 2, known_after: 1}}
decide: {{reference_hosts: ["{reference}"]}}
schedules:
  probe: {{run: probe, every: 2s, deadline: 1m}}
state: {state}
""".replace("500ms", "0.5s")


class Service(ThreadingHTTPServer):
    """A model server and the gateway in front of it. `alive` False: the model answers nothing.

    `flips` holds every admin call that moved users: when it came, and whether they are held then.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.alive = True
        self.held = False
        self.flips: list[tuple[float, bool]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def move(self, held: bool) -> None:
        self.held = held
        self.flips.append((time.time(), held))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asked was killed."""


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/api/admin/config":
            self._say({"tiers": {"1": {"enabled": not self.server.held}}})
        elif not self.server.alive:
            self.close()
        else:
            self._say({"data": [{"id": "m"}]} if path == "/v1/models" else {})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        if parts.path == "/api/admin/emergency-rollback":
            self.server.move(True)
        elif parts.path == "/api/admin/toggle-tier":
            assert parse_qs(parts.query)["enabled"] == ["true"]
            self.server.move(False)
        elif not self.server.alive:
            self.close()
            return
        self._say({"model": "m", "usage": {"completion_tokens": 1}, "choices": [{"text": "x"}]})

    def close(self) -> None:
        self.close_connection = True

    def _say(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@dataclass
class Machine:
    """One machine's folder, and its daemon. `said` are the daemon's lines so far."""

    folder: Path
    environment: Mapping[str, str]
    process: subprocess.Popen[str] | None = None
    said: list[str] = field(default_factory=list)

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "drkit", "daemon"],
            cwd=self.folder,
            env={**os.environ, **self.environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._listen, args=(self.process,), daemon=True).start()

    def signal(self, number: signal.Signals) -> None:
        """To the daemon alone; its children are sessions of their own."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()

    def command(self, *words: str) -> list[dict[str, Any]]:
        """The rows of a command on this machine."""
        done = subprocess.run(
            [sys.executable, "-m", "drkit", *words, "--json"],
            cwd=self.folder,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=60,
        )
        rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        assert rows or done.returncode == 0, done.stderr
        return rows

    def last(self, *stands: str) -> str:
        """Which of these words the daemon said last; "" if none."""
        found = [word for line in list(self.said) for word in stands if f"daemon: {word}" in line]
        return found[-1] if found else ""

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.said.append(line.rstrip())


def make_machine(
    folder: Path,
    service: Service,
    *,
    arbiter: str,
    stores: str | None = None,
    state_url: str | None = None,
    **environment: str,
) -> Machine:
    """A machine in `folder`, whose daemon is not started yet."""
    (folder / "notes").mkdir(parents=True)
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(_SITE)
    (folder / "password").write_text("a password of the test")
    (folder / "password").chmod(0o600)
    state = f"{{path: {folder}/state{f', url: {state_url}' if state_url else ''}}}"
    disk = f"{{disk: {{kind: folder, role: primary, path: {folder}/disk}}}}"
    text = CONFIG.format(
        root=folder,
        model=service.url,
        gateway=service.url,
        reference=service.url.removeprefix("http://"),
        stores=stores or disk,
        arbiter=arbiter,
        state=state,
    )
    (folder / "schedules.yaml").write_text(text)
    path = os.pathsep.join([str(folder / "site"), str(PROJECT)])
    return Machine(folder, {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **environment})


def until(what: str, is_so: Callable[[], bool], *, within_s: float = 90) -> None:
    end_s = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < end_s, f"not within {within_s:g} s: {what}"
        time.sleep(0.05)
