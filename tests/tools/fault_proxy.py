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
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import urlsplit

from http_streams import SLICE_BYTES, Asked, Head, Memory, body_length, drain, pieces, read_head


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
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # or whoever accepts would go on
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
            reader = client.makefile("rb", SLICE_BYTES)
            while (asked := read_head(reader)) is not None:
                self._go_on()
                with self._lock:
                    self.seen.requests[asked.method] += 1
                time.sleep(self.latency_s)
                fault = self.plan(asked) if self.plan else None
                if fault in _ANSWERED:
                    drain(reader, asked.length)
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
        for piece in pieces(reader, asked.length):
            self._go_on()
            self._up.wait(len(piece))
            if fault is Fault.RESET_IN_REQUEST and sent + len(piece) >= half:
                return _reset(client)
            if fault is Fault.DAMAGE_REQUEST and sent <= half < sent + len(piece):
                piece = _flipped(piece, half - sent)
            self.seen.bytes_up += len(piece)  # first: who gets the answer may look at once
            server.sendall(piece)
            sent += len(piece)
        answer = server.makefile("rb", SLICE_BYTES)
        head = read_head(answer)
        assert head is not None
        if fault is Fault.LOSE_ANSWER:
            drain(answer, body_length(asked, head))
            return _reset(client)
        if asked.is_list and head.method_status == 200:
            return self._carry_list(asked, head, answer, client, fault)
        return self._answer(asked, head, answer, client, fault)

    def _answer(
        self,
        asked: Asked,
        head: Head,
        answer: object,
        client: socket.socket,
        fault: Fault | None,
    ) -> bool:
        length = body_length(asked, head)
        client.sendall(head.raw)
        half, sent = length // 2, 0
        for piece in pieces(answer, length):
            self._go_on()
            self._down.wait(len(piece))
            cut = sent <= half < sent + len(piece)
            if cut and fault in (Fault.RESET_IN_ANSWER, Fault.TRUNCATE):
                client.sendall(piece[: half - sent])
                return _reset(client) if fault is Fault.RESET_IN_ANSWER else False
            if cut and fault is Fault.DAMAGE_ANSWER:
                piece = _flipped(piece, half - sent)
            self.seen.bytes_down += len(piece)
            if fault is Fault.DRIP:
                self._drip(client, piece)
            else:
                client.sendall(piece)
            sent += len(piece)
        return head.headers.get("connection", "").lower() != "close" and head.keeps

    def _carry_list(
        self,
        asked: Asked,
        head: Head,
        answer: object,
        client: socket.socket,
        fault: Fault | None,
    ) -> bool:
        body = b"".join(pieces(answer, body_length(asked, head)))
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
        again = Head(resized, {**head.headers, "content-length": str(len(body))})
        return self._answer(asked, again, Memory(body), client, fault) and head.keeps

    def _drip(self, client: socket.socket, piece: bytes) -> None:
        for at in range(len(piece)):
            if self._stopped.wait(self.drip_s):
                return
            client.sendall(piece[at : at + 1])

    def _go_on(self) -> None:
        """Stands still while the proxy is hung."""
        self._moving.wait()


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
