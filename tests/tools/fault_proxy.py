"""A slow, broken or lying line between a store's client and its HTTP server.

In a test: `FaultProxy(server_url, ...)`, whose `url` takes the server's place. For benches it also
runs as a process of its own, so that it takes no time from the client's interpreter:

    python tests/tools/fault_proxy.py --upstream URL [--latency-ms 50] [--mbit 100] [--hung]

which prints its URL, and on standard input's end the requests and bytes it has seen, as JSON.
Requests have a Content-Length; bodies are streamed, and the `Host` header is passed as it came.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import parse_qs, urlsplit

_SLICE_BYTES = 64 * 1024
_MOST_HEAD_BYTES = 64 * 1024


class Fault(Enum):
    """What goes wrong with one request."""

    RESET = "the connection is reset before anything was read"
    RESET_IN_REQUEST = "the connection is reset in the middle of what is sent"
    LOSE_ANSWER = "the server does it, and the answer is lost"
    RESET_IN_ANSWER = "the connection is reset in the middle of the answer"
    TRUNCATE = "the answer ends early, as if it were whole"
    DAMAGE_ANSWER = "a byte of the answer is another one"
    DAMAGE_REQUEST = "a byte of what is sent is another one"
    DRIP = "the answer comes a byte at a time"
    HANG = "nothing is ever answered"
    S429 = "429 without reaching the server"
    S500 = "500 without reaching the server"
    S503 = "503 with Retry-After, without reaching the server"
    STALE_LIST = "a list is answered as it was before"
    PARTIAL_LIST = "half of a list's entries are left out, and nothing says so"


LOUD = frozenset(Fault) - {Fault.STALE_LIST, Fault.PARTIAL_LIST}


@dataclass
class Asked:
    """One request's head."""

    method: str
    target: str
    headers: dict[str, str]
    raw: bytes

    @property
    def length(self) -> int:
        return int(self.headers.get("content-length", 0))

    @property
    def is_list(self) -> bool:
        """A list of objects, of S3 (a bucket's URL) or of Cloud Storage (`.../o?`)."""
        parts = urlsplit(self.target)
        query = parse_qs(parts.query)
        if self.method != "GET" or "alt" in query:
            return False
        return parts.path.endswith("/o") or "list-type" in query


Plan = Callable[[Asked], Fault | None]


class Weather:
    """A plan by a seed: `share` of the requests meet one of `faults`; the same seed, the same."""

    def __init__(
        self, seed: int, *, share: float, faults: Collection[Fault] = LOUD, burst: int = 1
    ) -> None:
        self.met: Counter[Fault] = Counter()
        self._rng = random.Random(seed)
        self._share = share
        self._faults = sorted(faults, key=lambda fault: fault.name)
        self._burst = burst
        self._left: list[Fault] = []
        self._lock = threading.Lock()

    def __call__(self, asked: Asked) -> Fault | None:
        with self._lock:
            if not self._left and self._rng.random() < self._share:
                self._left = [self._rng.choice(self._faults)] * self._rng.randint(1, self._burst)
            fault = self._left.pop() if self._left else None
            if fault in (Fault.STALE_LIST, Fault.PARTIAL_LIST) and not asked.is_list:
                return None
            if fault is not None:
                self.met[fault] += 1
            return fault


class _Rate:
    """At most `bytes_per_s` over all connections, in either direction apart."""

    def __init__(self, bytes_per_s: float | None) -> None:
        self._bytes_per_s = bytes_per_s
        self._lock = threading.Lock()
        self._free_s = 0.0

    def wait(self, size_bytes: int) -> None:
        if self._bytes_per_s is None:
            return
        with self._lock:
            now_s = time.monotonic()
            self._free_s = max(self._free_s, now_s) + size_bytes / self._bytes_per_s
            pause_s = self._free_s - now_s
        time.sleep(max(0.0, pause_s))


@dataclass
class Seen:
    """What came through so far."""

    requests: Counter[str] = field(default_factory=Counter)
    bytes_up: int = 0
    bytes_down: int = 0

    @property
    def count(self) -> int:
        return sum(self.requests.values())


class FaultProxy:
    """Listens on loopback until `stop`. `hung` may be set at any time: from then on connections
    are taken and nothing is read or answered; those under way stand still too."""

    def __init__(
        self,
        upstream: str,
        *,
        latency_s: float = 0.0,
        bytes_per_s: float | None = None,
        plan: Plan | None = None,
        drip_s: float = 0.05,
    ) -> None:
        self.seen = Seen()
        self.plan = plan
        self.latency_s = latency_s
        self.drip_s = drip_s
        self._upstream = urlsplit(upstream)
        self._up, self._down = _Rate(bytes_per_s), _Rate(bytes_per_s)
        self._moving = threading.Event()
        self._moving.set()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._lists: dict[str, bytes] = {}
        self._open: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    @property
    def hung(self) -> bool:
        return not self._moving.is_set()

    @hung.setter
    def hung(self, hung: bool) -> None:
        (self._moving.clear if hung else self._moving.set)()

    def stop(self) -> None:
        self._stopped.set()
        self._moving.set()
        self._listening.close()
        with self._lock:
            open_ = list(self._open)
        for connection in open_:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server: socket.socket | None = None
        with self._lock:
            self._open.add(client)
        try:
            self._go_on()
            reader = client.makefile("rb", _SLICE_BYTES)
            while (asked := _read_head(reader)) is not None:
                self._go_on()
                with self._lock:
                    self.seen.requests[asked.method] += 1
                time.sleep(self.latency_s)
                fault = self.plan(asked) if self.plan else None
                if fault in _ANSWERED:
                    _drain(reader, asked.length)
                    client.sendall(_ANSWERED[fault])
                    continue
                if server is None:
                    server = self._connect()
                if not self._carry(asked, reader, client, server, fault):
                    break
        except (OSError, ValueError, EOFError, AssertionError):
            pass
        finally:
            with self._lock:
                self._open.discard(client)
            for each in (client, server):
                if each is not None:
                    each.close()

    def _connect(self) -> socket.socket:
        address = (self._upstream.hostname, self._upstream.port or 80)
        server = socket.create_connection(address, timeout=60)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return server

    def _carry(
        self,
        asked: Asked,
        reader: object,
        client: socket.socket,
        server: socket.socket,
        fault: Fault | None,
    ) -> bool:
        """One request there and its answer back; whether the connection goes on."""
        if fault is Fault.RESET:
            return _reset(client)
        if fault is Fault.HANG:
            self._stopped.wait()
            return False
        server.sendall(asked.raw)
        half, sent = asked.length // 2, 0
        for piece in _pieces(reader, asked.length):
            self._go_on()
            self._up.wait(len(piece))
            if fault is Fault.RESET_IN_REQUEST and sent + len(piece) >= half:
                return _reset(client)
            if fault is Fault.DAMAGE_REQUEST and sent <= half < sent + len(piece):
                piece = _flipped(piece, half - sent)
            server.sendall(piece)
            sent += len(piece)
            self.seen.bytes_up += len(piece)
        answer = server.makefile("rb", _SLICE_BYTES)
        head = _read_head(answer)
        assert head is not None
        if fault is Fault.LOSE_ANSWER:
            _drain(answer, _body_length(asked, head))
            return _reset(client)
        if asked.is_list and head.method_status == 200:
            return self._carry_list(asked, head, answer, client, fault)
        return self._answer(asked, head, answer, client, fault)

    def _answer(
        self,
        asked: Asked,
        head: _Head,
        answer: object,
        client: socket.socket,
        fault: Fault | None,
    ) -> bool:
        length = _body_length(asked, head)
        client.sendall(head.raw)
        half, sent = length // 2, 0
        for piece in _pieces(answer, length):
            self._go_on()
            self._down.wait(len(piece))
            cut = sent <= half < sent + len(piece)
            if cut and fault in (Fault.RESET_IN_ANSWER, Fault.TRUNCATE):
                client.sendall(piece[: half - sent])
                return _reset(client) if fault is Fault.RESET_IN_ANSWER else False
            if cut and fault is Fault.DAMAGE_ANSWER:
                piece = _flipped(piece, half - sent)
            if fault is Fault.DRIP:
                self._drip(client, piece)
            else:
                client.sendall(piece)
            sent += len(piece)
            self.seen.bytes_down += len(piece)
        return head.headers.get("connection", "").lower() != "close" and head.keeps

    def _carry_list(
        self,
        asked: Asked,
        head: _Head,
        answer: object,
        client: socket.socket,
        fault: Fault | None,
    ) -> bool:
        body = b"".join(_pieces(answer, _body_length(asked, head)))
        with self._lock:
            before = self._lists.setdefault(asked.target, body)
            if fault is not Fault.STALE_LIST:
                self._lists[asked.target] = body
        if fault is Fault.STALE_LIST:
            body = before
        elif fault is Fault.PARTIAL_LIST:
            body = half_of_list(body)
        elif fault is Fault.DAMAGE_ANSWER:
            fault = Fault.TRUNCATE  # a name with another letter is no fault of a line with TLS
        resized = re.sub(
            rb"(?i)\r\ncontent-length: *\d+", b"\r\nContent-Length: %d" % len(body), head.raw
        )
        again = _Head(resized, {**head.headers, "content-length": str(len(body))})
        return self._answer(asked, again, _Memory(body), client, fault) and head.keeps

    def _drip(self, client: socket.socket, piece: bytes) -> None:
        for at in range(len(piece)):
            if self._stopped.wait(self.drip_s):
                return
            client.sendall(piece[at : at + 1])

    def _go_on(self) -> None:
        """Stands still while the proxy is hung."""
        self._moving.wait()


@dataclass
class _Head:
    raw: bytes
    headers: dict[str, str]

    @property
    def method_status(self) -> int:
        return int(self.raw.split(b" ", 2)[1])

    @property
    def keeps(self) -> bool:
        return self.raw.startswith(b"HTTP/1.1") and "content-length" in self.headers


class _Memory:
    def __init__(self, body: bytes) -> None:
        self._body = memoryview(body)

    def read(self, size: int) -> bytes:
        piece, self._body = self._body[:size], self._body[size:]
        return bytes(piece)


def half_of_list(body: bytes) -> bytes:
    """Every second entry of a page, in the form of S3 or of Cloud Storage; the rest as it was."""
    if body.lstrip().startswith(b"{"):
        page = json.loads(body)
        if "items" in page:
            page["items"] = page["items"][::2]
        return json.dumps(page).encode()
    entries = re.findall(rb"<Contents>.*?</Contents>", body, re.DOTALL)
    for entry in entries[1::2]:
        body = body.replace(entry, b"", 1)
    return body


_ANSWERED = {
    Fault.S429: b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n",
    Fault.S500: b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
    Fault.S503: b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n",
}


def _read_head(reader: object) -> Asked | None:
    """The next head: of a request, or (with the same fields) of an answer."""
    lines: list[bytes] = []
    while True:
        line = reader.readline(_MOST_HEAD_BYTES)  # type: ignore[attr-defined]
        if not line:
            return None
        lines.append(line)
        if line in (b"\r\n", b"\n"):
            break
    pairs = (line.decode("latin-1").partition(":") for line in lines[1:-1])
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    raw = b"".join(lines)
    if lines[0].startswith(b"HTTP/"):
        return _Head(raw, headers)  # type: ignore[return-value]
    method, target, _ = lines[0].decode("latin-1").split(" ", 2)
    return Asked(method, target, headers, raw)


def _body_length(asked: Asked, head: _Head) -> int:
    if asked.method == "HEAD" or head.method_status in (204, 304):
        return 0
    return int(head.headers.get("content-length", -1))


def _pieces(reader: object, length: int) -> Iterator[bytes]:
    """`length` bytes in slices, or with -1 all until the end."""
    while length:
        wanted = _SLICE_BYTES if length < 0 else min(length, _SLICE_BYTES)
        read = getattr(reader, "read1", None) or reader.read  # type: ignore[attr-defined]
        piece = read(wanted)
        if not piece:
            if length < 0:
                return
            raise EOFError
        length -= len(piece) if length > 0 else 0
        yield piece


def _drain(reader: object, length: int) -> None:
    for _ in _pieces(reader, length):
        pass


def _flipped(piece: bytes, at: int) -> bytes:
    return piece[:at] + bytes([piece[at] ^ 0x20]) + piece[at + 1 :]


def _reset(client: socket.socket) -> bool:
    """Closes so that the other end sees a reset and not an end."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--mbit", type=float)
    parser.add_argument("--hung", action="store_true")
    asked = parser.parse_args()
    rate = asked.mbit * 1_000_000 / 8 if asked.mbit else None
    proxy = FaultProxy(asked.upstream, latency_s=asked.latency_ms / 1000, bytes_per_s=rate)
    proxy.hung = asked.hung
    print(proxy.url, flush=True)
    sys.stdin.read()
    seen = {"requests": proxy.seen.requests, "up": proxy.seen.bytes_up}
    print(json.dumps({**seen, "down": proxy.seen.bytes_down}), flush=True)


if __name__ == "__main__":
    main()
