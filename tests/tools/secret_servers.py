"""Stand-ins of a Vault's KV v2 and of Google's Secret Manager, which follow the published APIs."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import google_crc32c
from gcs_server import GcsServer


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def say(self, status: int, values: object) -> None:
        data = json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def read(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Vault(_Answering):
    """A token and an AppRole may read `kv/data/drkit/store`; `old` was deleted; others may not."""

    asked: ClassVar[list[str]] = []
    secrets: ClassVar[dict[str, dict[str, Any]]] = {
        "/v1/kv/data/drkit/store": {"password": "planted-in-vault\n", "number": 7, "empty": ""},
    }

    def do_POST(self) -> None:
        given = self.read()
        if self.path != "/v1/auth/approle/login":
            self.say(404, {"errors": []})
        elif given == {"role_id": "role", "secret_id": "secret"}:
            self.say(200, {"auth": {"client_token": "by-role", "lease_duration": 60}})
        else:
            self.say(400, {"errors": ["invalid role or secret ID"]})

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.headers.get("X-Vault-Token") not in ("by-role", "by-token"):
            self.say(403, {"errors": ["permission denied"]})
        elif self.path == "/v1/kv/data/drkit/old":
            self.say(404, {"data": {"data": None, "metadata": {"deletion_time": "2026-01-01"}}})
        elif self.path in self.secrets:
            data = {"data": self.secrets[self.path], "metadata": {"version": 3}}
            self.say(200, {"data": data})
        else:
            self.say(404, {"errors": []})


class SecretManager(_Answering):
    """Versions of one secret; `bent` is answered with another checksum."""

    tokens: ClassVar[GcsServer]
    payloads: ClassVar[dict[str, bytes]] = {
        "projects/p/secrets/drkit/versions/latest": b"planted-in-google\n",
        "projects/p/secrets/drkit/versions/1": b'{"key": "of version 1"}',
        "projects/p/secrets/bent/versions/latest": b"bent",
    }

    def do_GET(self) -> None:
        if not self.tokens.account.knows(self.headers.get("Authorization", "")):
            self.say(401, {"error": {"code": 401}})
            return
        name = self.path.removeprefix("/v1/").removesuffix(":access")
        data = self.payloads.get(name)
        if data is None:
            self.say(404, {"error": {"code": 404}})
            return
        crc = google_crc32c.value(data if b"bent" not in data else b"straight")
        payload = {"data": base64.b64encode(data).decode(), "dataCrc32c": str(crc)}
        self.say(200, {"name": name, "payload": payload})


@contextmanager
def serving(handler: type[_Answering]) -> Iterator[str]:
    """The server's URL, on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
