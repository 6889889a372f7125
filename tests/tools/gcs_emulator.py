"""The Cloud Storage emulator of PyPI (gcp-storage-emulator), as it is: asked, and answering."""

from __future__ import annotations

import http.client
from typing import Any
from urllib.parse import quote

from gcp_storage_emulator.server import RequestHandler, create_server

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers, body."""

RequestHandler.disable_nagle_algorithm = True  # 40 ms an answer otherwise
_ITS_OWN = ("content-length", "date", "server", "connection")
_NOT_PASSED = ("connection", "authorization", "content-length")


class Emulator:
    """One bucket, in memory, on loopback."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        self._server = create_server("127.0.0.1", 0, in_memory=True, default_bucket=bucket)
        self._server._api.daemon = True
        self._server.start()
        self._port = self._server._api._httpd.server_address[1]

    def close(self) -> None:
        self._server.stop()

    def about(self, name: str) -> Answer:
        return self.ask("GET", self._path(name), {}, b"")

    def content(self, name: str, headers: Any) -> Answer:
        return self.ask("GET", f"{self._path(name)}?alt=media", headers, b"")

    def delete(self, name: str) -> None:
        self.ask("DELETE", self._path(name), {}, b"")

    def _path(self, name: str) -> str:
        return f"/storage/v1/b/{self._bucket}/o/{quote(name, safe='')}"

    def ask(self, method: str, target: str, headers: Any, body: bytes) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        passed = {n: v for n, v in dict(headers).items() if n.lower() not in _NOT_PASSED}
        try:
            connection.request(method, target, body or None, passed)
            reply = connection.getresponse()
            data = reply.read()
            kept = {n: v for n, v in reply.getheaders() if n.lower() not in _ITS_OWN}
            return reply.status, kept, data
        finally:
            connection.close()
