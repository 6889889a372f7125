"""The proxy of the storms does what it says: each fault is seen by a plain client."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from fault_proxy import Fault, FaultProxy, Weather, half_of_list

BODY = bytes(range(256)) * 16


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[tuple[str, bytes]]] = []

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        got = self.rfile.read(length)
        if len(got) < length:
            return
        self.asked.append((self.path, got))
        listing = b'{"items": [{"name": "%d"}, {"name": "b"}]}' % len(self.asked)
        answer = listing if self.path.endswith("/o?prefix=") else got or BODY
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Echo.asked.clear()
    made = FaultProxy(f"http://127.0.0.1:{server.server_address[1]}", drip_s=0.001)
    yield made
    made.stop()
    server.shutdown()
    server.server_close()


def ask(
    proxy: FaultProxy,
    method: str = "GET",
    path: str = "/x",
    body: bytes = b"",
    timeout_s: float = 60,
) -> tuple[int, bytes]:
    host = proxy.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=timeout_s)
    try:
        connection.request(method, path, body or None)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def always(proxy: FaultProxy, fault: Fault) -> None:
    proxy.plan = lambda _asked: fault


def test_without_a_plan_everything_passes_and_is_counted(proxy: FaultProxy) -> None:
    assert ask(proxy) == (200, BODY)
    assert ask(proxy, "PUT", body=b"abc") == (200, b"abc")
    assert proxy.seen.requests == {"GET": 1, "PUT": 1}
    assert (proxy.seen.bytes_up, proxy.seen.bytes_down) == (3, len(BODY) + 3)


@pytest.mark.parametrize(
    ("fault", "reaches"),
    [
        (Fault.RESET, False),
        (Fault.RESET_IN_REQUEST, False),
        (Fault.LOSE_ANSWER, True),
        (Fault.RESET_IN_ANSWER, True),
    ],
)
def test_a_reset_is_a_reset_and_reaches_the_server_or_not(
    proxy: FaultProxy, fault: Fault, reaches: bool
) -> None:
    always(proxy, fault)
    with pytest.raises(ConnectionError):
        ask(proxy, "PUT", body=BODY)
    assert (len(Echo.asked) == 1) is reaches


def test_a_truncated_answer_ends_early(proxy: FaultProxy) -> None:
    always(proxy, Fault.TRUNCATE)
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(proxy)
    assert len(caught.value.partial) == len(BODY) // 2


def test_damage_changes_one_byte_and_no_length(proxy: FaultProxy) -> None:
    always(proxy, Fault.DAMAGE_ANSWER)
    _, answer = ask(proxy)
    assert sum(a != b for a, b in zip(answer, BODY, strict=True)) == 1
    always(proxy, Fault.DAMAGE_REQUEST)
    ask(proxy, "PUT", body=BODY)
    arrived = Echo.asked[-1][1]
    assert sum(a != b for a, b in zip(arrived, BODY, strict=True)) == 1


@pytest.mark.parametrize(
    ("fault", "status"), [(Fault.S429, 429), (Fault.S500, 500), (Fault.S503, 503)]
)
def test_an_error_is_answered_without_the_server(
    proxy: FaultProxy, fault: Fault, status: int
) -> None:
    always(proxy, fault)
    assert ask(proxy, "PUT", body=BODY) == (status, b"")
    assert Echo.asked == []


def test_what_hangs_says_nothing(proxy: FaultProxy) -> None:
    always(proxy, Fault.HANG)
    with pytest.raises(TimeoutError):
        ask(proxy, timeout_s=0.5)
    proxy.plan = None
    proxy.hung = True
    with pytest.raises(TimeoutError):
        ask(proxy, timeout_s=0.5)
    proxy.hung = False
    assert ask(proxy) == (200, BODY)


def test_a_drip_comes_whole_in_the_end(proxy: FaultProxy) -> None:
    always(proxy, Fault.DRIP)
    assert ask(proxy, "PUT", body=b"slowly") == (200, b"slowly")


def test_a_stale_list_is_the_one_of_before_and_a_partial_one_lacks_half(proxy: FaultProxy) -> None:
    path = "/storage/v1/b/x/o?prefix="
    _, first = ask(proxy, path=path)
    _, second = ask(proxy, path=path)
    assert first != second
    always(proxy, Fault.STALE_LIST)
    assert ask(proxy, path=path)[1] == second
    always(proxy, Fault.PARTIAL_LIST)
    assert ask(proxy, path=path)[1].count(b"name") == 1
    s3 = b"<R><Contents>1</Contents><Contents>2</Contents><IsTruncated>false</IsTruncated></R>"
    assert half_of_list(s3) == b"<R><Contents>1</Contents><IsTruncated>false</IsTruncated></R>"


def test_the_same_seed_is_the_same_weather(proxy: FaultProxy) -> None:
    def met(seed: int) -> list[Fault | None]:
        weather = Weather(seed, share=0.3, burst=3)
        asked = type("Asked", (), {"is_list": True})()
        return [weather(asked) for _ in range(200)]

    assert met(7) == met(7)
    assert met(7) != met(8)
    assert 20 < sum(fault is not None for fault in met(7)) < 180


def test_a_line_can_be_slow(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("fault_proxy.time.sleep", slept.append)
    slow = FaultProxy(proxy._upstream.geturl(), latency_s=0.05, bytes_per_s=len(BODY) / 2)
    try:
        assert ask(slow) == (200, BODY)
    finally:
        slow.stop()
    assert slept[0] == 0.05
    assert 1.9 < sum(slept[1:]) < 2.1
    assert isinstance(slow._listening, socket.socket)
