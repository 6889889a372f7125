"""Backblaze B2's S3 API in front of another S3 server: what B2 refuses is refused here.

Conditional headers are 501; the checksum headers and trailers of newer SDKs, and batch deletions
without Content-MD5, are 400; Content-MD5 is compared; a locked object needs it. Buckets keep
versions (`make_bucket` sees to it), so a delete by name only hides. Some requests, by a seed, meet
501 or 503 SlowDown with Retry-After: 0.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import random
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

CONDITIONAL = ("if-match", "if-none-match")
UNSUPPORTED = ("x-amz-checksum-", "x-amz-sdk-checksum-algorithm", "x-amz-trailer", "x-amz-tagging")


class B2Proxy:
    """Serves on loopback until `stop`. `said` counts the refusals by code."""

    def __init__(self, upstream: str, *, seed: int = 1, trouble_share: float = 0.0) -> None:
        self.said: Counter[str] = Counter()
        self._upstream = urlsplit(upstream)
        self._rng = random.Random(seed)
        self._share = trouble_share
        self._lock = threading.Lock()
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def refusal(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, str, str] | None:
        """Status, code and text with which B2 would refuse; None where it would go on."""
        with self._lock:
            if self._rng.random() < self._share:
                return self._rng.choice(
                    [
                        (503, "SlowDown", "Please reduce your request rate."),
                        (501, "NotImplemented", "A header you provided implies functionality"),
                    ]
                )
        writes = method in ("PUT", "POST", "DELETE")
        if writes and any(name in headers for name in CONDITIONAL):
            return 501, "NotImplemented", "A header you provided implies functionality"
        for name in headers:
            if name.startswith(UNSUPPORTED):
                return 400, "InvalidArgument", f"Unsupported header '{name}' received"
        if "aws-chunked" in headers.get("content-encoding", ""):
            return 400, "InvalidArgument", "Unsupported encoding aws-chunked"
        return _digest_refusal(method, target, headers, body)

    def forward(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        assert self._upstream.hostname is not None
        connection = http.client.HTTPConnection(self._upstream.hostname, self._upstream.port)
        try:
            connection.request(method, target, body=body or None, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()


def _digest_refusal(
    method: str, target: str, headers: dict[str, str], body: bytes
) -> tuple[int, str, str] | None:
    sent = headers.get("content-md5")
    query = parse_qs(urlsplit(target).query, keep_blank_values=True)
    if sent is None:
        if method == "POST" and "delete" in query:
            return 400, "InvalidRequest", "Missing required header: Content-MD5"
        if "x-amz-object-lock-mode" in headers and method == "PUT":
            return 400, "InvalidRequest", "Content-MD5 is required with object lock"
        return None
    if base64.b64encode(hashlib.md5(body).digest()).decode() != sent:
        return 400, "BadDigest", "The Content-MD5 you specified did not match"
    return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: B2Proxy

    def _serve(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        refused = self.owner.refusal(self.command, self.path, headers, body)
        if refused is not None:
            status, code, text = refused
            self.owner.said[code] += 1
            answer = f"<Error><Code>{code}</Code><Message>{text}</Message></Error>".encode()
            extra = [("Retry-After", "0")] if status == 503 else []
            self._answer(status, [("Content-Type", "application/xml"), *extra], answer)
            return
        self._answer(*self.owner.forward(self.command, self.path, headers, body))

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        own = ("connection", "transfer-encoding", "keep-alive")
        length = str(len(body))
        for name, value in headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() not in (*own, "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Quiet."""
