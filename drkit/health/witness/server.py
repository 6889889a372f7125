"""Answers those who have the token with signed statements; everybody else with nothing at all.

One question: `GET /v1/observation?service=NAME&nonce=32 HEX DIGITS`. The server is the standard
library's, so that a witness needs no more than drkit itself. What a stranger can cost it is
bounded: connections at once, seconds of each, and questions a minute from each address.
"""

from __future__ import annotations

import hmac
import json
import socket
import ssl
import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from drkit.clock import Clock
from drkit.health.witness.asking import PATH
from drkit.health.witness.sentry import Sentry
from drkit.health.witness.signing import SigningKey
from drkit.health.witness.statement import NONCE, signed

_MOST_CONNECTIONS = 32
_MOST_S = 10.0
_MOST_ADDRESSES = 4096


class Allowance:
    """So many questions at once from one address, and one more each second. Safe for threads."""

    def __init__(self, clock: Clock, *, most: float = 60.0, per_s: float = 1.0) -> None:
        self._clock = clock
        self._most = most
        self._per_s = per_s
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, address: str, cost: float = 1.0) -> bool:
        """Whether `address` may ask; `cost` is then taken from what it has left."""
        now_s = self._clock.elapsed_s()
        with self._lock:
            left, at_s = self._left.pop(address, (self._most, now_s))
            left = min(self._most, left + (now_s - at_s) * self._per_s)
            allowed = left >= cost
            self._left[address] = (left - cost if allowed else left, now_s)
            while len(self._left) > _MOST_ADDRESSES:
                self._left.popitem(last=False)
            return allowed


class WitnessServer(ThreadingHTTPServer):
    """Listens from the moment it is made; `serve_forever` answers until `shutdown`."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        host: str,
        port: int,
        *,
        sentries: Mapping[str, Sentry],
        token: str,
        key: SigningKey,
        clock: Clock,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sentries = sentries
        self.key = key
        self.allowance = Allowance(clock)
        self._expected = f"Bearer {token}".encode()
        self._tls = tls
        self._places = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        super().__init__((host, port), _Handler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def knows(self, authorization: str) -> bool:
        return hmac.compare_digest(authorization.encode(errors="replace"), self._expected)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One connection, whose socket is closed when its time is up, whatever it is at."""
        talking: list[socket.socket] = [request]
        closing = threading.Timer(_MOST_S, lambda: _close(talking[0]))
        closing.daemon = True
        closing.start()
        try:
            request.settimeout(_MOST_S)
            if self._tls is not None:  # here and not while accepting: a handshake can hang
                wrap = self._tls.wrap_socket
                request = wrap(request, server_side=True, do_handshake_on_connect=False)
                talking[0] = request
                request.do_handshake()
            self.finish_request(request, client_address)
        except OSError:
            pass  # it went away, or could not speak TLS
        finally:
            closing.cancel()
            self.shutdown_request(request)
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller's trouble is its own."""


class _Handler(BaseHTTPRequestHandler):
    server: WitnessServer

    def do_GET(self) -> None:
        address = str(self.client_address[0])
        if not self.server.knows(self.headers.get("Authorization", "")):
            allowed = self.server.allowance.take(address, cost=10.0)
            self._say(HTTPStatus.UNAUTHORIZED if allowed else HTTPStatus.TOO_MANY_REQUESTS)
            return
        if not self.server.allowance.take(address):
            self._say(HTTPStatus.TOO_MANY_REQUESTS)
            return
        parts = urlsplit(self.path)
        asked = parse_qs(parts.query, max_num_fields=4) if len(parts.query) < 1024 else {}
        nonce = asked.get("nonce", [""])[0]
        if parts.path != PATH or not NONCE.fullmatch(nonce):
            self._say(HTTPStatus.BAD_REQUEST)
            return
        sentry = self.server.sentries.get(asked.get("service", [""])[0])
        if sentry is None:
            self._say(HTTPStatus.NOT_FOUND)
            return
        self._say(HTTPStatus.OK, signed(sentry.statement(nonce), self.server.key))

    def _say(self, status: HTTPStatus, body: bytes | None = None) -> None:
        content = body or json.dumps({"error": status.phrase}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def version_string(self) -> str:
        return "drkit"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: an answer a second is no news."""


def _close(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
