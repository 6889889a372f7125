"""Fetching over HTTP from servers that break off, cannot resume, stumble, refuse, and lie."""

from __future__ import annotations

import hashlib
import random
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from certificates import certificate
from raw_server import RawServer, drips

from drkit.clock import ManualClock, SystemClock
from drkit.errors import DamagedData
from drkit.events import discard
from drkit.http_client import NoAnswer
from drkit.http_wire import Route, Wire
from drkit.io_policy import Deadline
from drkit.mirror.download import read_url
from drkit.mirror.fetch import fetch_ticket
from drkit.mirror.manifest import FileEntry, Manifest
from drkit.mirror.ticket import Ticket
from drkit.stores.interface import StoreRefused, StoreUnreachable

DATA = random.Random(3).randbytes(3_000_000)
ENTRY = FileEntry("model.bin", len(DATA), hashlib.sha256(DATA).hexdigest())

Handle = Callable[["Handler", int, int], None]
"""(request, its number from 0, the offset it asks for)"""


class Handler(BaseHTTPRequestHandler):
    handle_get: Handle
    requests: list[int]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "bytes=0-")
        offset = int(wanted.removeprefix("bytes=").removesuffix("-"))
        self.requests.append(offset)
        type(self).handle_get(self, len(self.requests) - 1, offset)

    def send(self, status: int, data: bytes, *, announced: int | None = None, at: int = 0) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data) if announced is None else announced))
        if status == 206:
            self.send_header("Content-Range", f"bytes {at}-{len(DATA) - 1}/{len(DATA)}")
        self.end_headers()
        self.wfile.write(data)
        if announced is not None:
            self.close_connection = True

    def log_message(self, *_args: object) -> None:
        """Tests say what they saw."""


@pytest.fixture
def serve() -> Iterator[Callable[[Handle], tuple[Ticket, list[int]]]]:
    servers: list[ThreadingHTTPServer] = []

    def start(handle: Handle) -> tuple[Ticket, list[int]]:
        requests: list[int] = []
        made = type("One", (Handler,), {"handle_get": handle, "requests": requests})
        server = ThreadingHTTPServer(("127.0.0.1", 0), made)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/model.bin?signature=planted-secret"
        manifest = Manifest("tiny", "r1", (ENTRY,))
        ends = ManualClock().now() + timedelta(hours=1)
        return Ticket(manifest, {ENTRY.path: (("cloud", url),)}, ends), requests

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


Serve = Callable[[Handle], tuple[Ticket, list[int]]]


def fetch(ticket: Ticket, into: Path) -> None:
    fetch_ticket(ticket, into, clock=ManualClock(), emit=discard)


def test_a_connection_that_breaks_off_is_carried_on_where_it_broke(
    serve: Serve, tmp_path: Path
) -> None:
    def handle(request: Handler, number: int, offset: int) -> None:
        rest = DATA[offset:]
        if number == 0:
            request.send(200, rest[: 2 << 20], announced=len(rest))
        else:
            request.send(206, rest, at=offset)

    ticket, requests = serve(handle)
    fetch(ticket, tmp_path)
    assert (tmp_path / "model.bin").read_bytes() == DATA
    assert requests[0] == 0
    assert requests[1] > 1 << 20
    assert len(requests) == 2


def test_a_server_that_cannot_resume_sends_all_again(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "model.bin.part").write_bytes(DATA[:1000])
    ticket, requests = serve(lambda request, _number, _offset: request.send(200, DATA))
    fetch(ticket, tmp_path)
    assert (tmp_path / "model.bin").read_bytes() == DATA
    assert requests == [1000]


def test_a_server_that_stumbles_is_asked_again_but_not_forever(
    serve: Serve, tmp_path: Path
) -> None:
    def stumbles(request: Handler, number: int, offset: int) -> None:
        request.send(503, b"busy") if number < 2 else request.send(200, DATA[offset:])

    ticket, requests = serve(stumbles)
    fetch(ticket, tmp_path / "a")
    assert requests == [0, 0, 0]
    ticket, requests = serve(lambda request, _number, _offset: request.send(503, b"busy"))
    with pytest.raises(StoreUnreachable, match="503"):
        fetch(ticket, tmp_path / "b")
    assert len(requests) == 4


def test_a_refusal_is_not_repeated_and_shows_no_url(serve: Serve, tmp_path: Path) -> None:
    ticket, requests = serve(lambda request, _number, _offset: request.send(403, b"expired"))
    with pytest.raises(StoreRefused) as caught:
        fetch(ticket, tmp_path)
    assert requests == [0]
    assert "planted-secret" not in f"{caught.value.message} {caught.value.hint}"
    assert not (tmp_path / "model.bin").exists()


@pytest.mark.parametrize(
    "answer", [DATA[:-1] + bytes([DATA[-1] ^ 1]), DATA + b"more", DATA * 2], ids=len
)
def test_a_server_that_lies_is_found_out(serve: Serve, tmp_path: Path, answer: bytes) -> None:
    ticket, _ = serve(lambda request, _number, _offset: request.send(200, answer))
    with pytest.raises(DamagedData, match=r"model\.bin"):
        fetch(ticket, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_never_ends_is_cut_off_at_the_size(serve: Serve, tmp_path: Path) -> None:
    def endless(request: Handler, _number: int, _offset: int) -> None:
        request.send_response(200)
        request.end_headers()
        request.close_connection = True
        with suppress(OSError):
            while True:
                request.wfile.write(DATA)

    ticket, requests = serve(endless)
    with pytest.raises(DamagedData, match=r"model\.bin"):
        fetch(ticket, tmp_path)
    assert requests == [0]
    assert list(tmp_path.iterdir()) == []


def test_another_range_than_the_one_asked_for_is_not_taken(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "model.bin.part").write_bytes(DATA[:1000])
    ticket, _ = serve(lambda request, _number, _offset: request.send(206, DATA[5:], at=5))
    with pytest.raises(StoreUnreachable, match="another range"):
        fetch(ticket, tmp_path)
    assert not (tmp_path / "model.bin").exists()


def test_nobody_there_is_an_error_that_names_the_host_only(serve: Serve, tmp_path: Path) -> None:
    ticket, _ = serve(lambda request, _number, _offset: request.send(200, DATA))
    gone = {ENTRY.path: (("cloud", "http://127.0.0.1:9/x?signature=planted-secret"),)}
    with pytest.raises(Exception, match=r"127\.0\.0\.1") as caught:
        fetch(Ticket(ticket.manifest, gone, ticket.expires_at), tmp_path)
    assert "planted-secret" not in str(caught.value)


def test_S10_a_url_that_drips_is_left_though_it_is_never_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = Deadline(connect_s=1, total_s=0.4, min_bytes_per_s=1_000_000)
    monkeypatch.setattr("drkit.mirror.download.STORE_REQUEST", impatient)
    server = RawServer(drips)
    try:
        with pytest.raises(NoAnswer, match="did not answer in time") as caught:
            url = f"{server.url}/model.bin?signature=planted-secret"
            for _ in read_url(url, offset=0, size_bytes=1_000_000, clock=SystemClock()):
                pass
        assert "planted-secret" not in f"{caught.value}"
    finally:
        server.stop()


def test_a_store_of_the_operator_is_reached_as_its_configuration_says(tmp_path: Path) -> None:
    key_file, file = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key_file)
    server = RawServer(lambda talk: talk.answer(200, DATA), tls=context)
    ends = SystemClock().now() + timedelta(days=3650)
    url = f"{server.url}/model.bin?signature=planted-secret"
    ticket = Ticket(Manifest("tiny", "r1", (ENTRY,)), {ENTRY.path: (("own", url),)}, ends)
    wire = Wire(Route(ca_file=str(file)), clock=SystemClock())
    try:
        with pytest.raises(NoAnswer, match="certificate is not trusted"):
            fetch_ticket(ticket, tmp_path / "a", clock=ManualClock(), emit=discard)
        assert server.talks == []
        into = tmp_path / "b"
        fetch_ticket(ticket, into, clock=SystemClock(), emit=discard, wires={"own": wire})
        assert (into / ENTRY.path).read_bytes() == DATA
        assert len(server.talks) == 1
    finally:
        wire.close()
        server.stop()
