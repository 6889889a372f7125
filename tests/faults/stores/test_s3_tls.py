"""S3 over TLS: whom a store trusts, what it refuses, and how it goes through a proxy."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from certificates import certificate
from raw_server import RawServer, Talk
from s3_servers import impatient, s3_store

from drkit.stores.interface import Store, StoreUnreachable

DATA = b"over TLS" * 1000
BRISK = impatient(total_s=10, tries=2)

Serve = Callable[..., tuple[RawServer, Path]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    servers: list[RawServer] = []

    def start(host: str = "127.0.0.1", *, most: ssl.TLSVersion | None = None) -> tuple:
        key_file, file = certificate(tmp_path, host=host)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file, key_file)
        if most is not None:
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = most
        server = RawServer(lambda talk: talk.answer(200, DATA), tls=context)
        servers.append(server)
        return server, file

    yield start
    for server in servers:
        server.stop()


def store_at(server: RawServer, **fields: object) -> Store:
    return s3_store(server.url, "bucket", pace=BRISK, **fields)


def test_a_server_of_a_declared_authority_is_trusted(serve: Serve) -> None:
    server, file = serve()
    store = store_at(server, ca_file=str(file))
    assert store.get("a") == DATA
    assert store.get("a") == DATA
    assert server.connections == 1  # kept, and used again


def test_a_server_that_nobody_vouches_for_is_sent_nothing(serve: Serve) -> None:
    server, _file = serve()
    with pytest.raises(StoreUnreachable, match="certificate is not trusted") as caught:
        store_at(server).get("a")
    assert "ca_file" in caught.value.hint
    assert server.talks == []


def test_a_certificate_of_another_server_is_refused(serve: Serve) -> None:
    server, file = serve("127.0.0.9")
    with pytest.raises(StoreUnreachable, match="certificate is not trusted"):
        store_at(server, ca_file=str(file)).get("a")
    assert server.talks == []


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_tls_older_than_1_2_is_refused(serve: Serve) -> None:
    server, file = serve(most=ssl.TLSVersion.TLSv1_1)
    with pytest.raises(StoreUnreachable):
        store_at(server, ca_file=str(file)).get("a")
    assert server.talks == []


def test_a_proxy_sees_the_name_of_the_server_and_nothing_else(serve: Serve) -> None:
    server, file = serve()
    proxy = RawServer(tunnel)
    try:
        store = store_at(server, ca_file=str(file), proxy=proxy.url)
        assert store.get("a") == DATA
        (talk,) = proxy.talks
        assert (talk.method, talk.target) == ("CONNECT", f"127.0.0.1:{server.port}")
        assert "authorization" not in talk.headers
        assert server.talks[0].target == "/bucket/a"
    finally:
        proxy.stop()


def test_a_proxy_that_refuses_is_no_way_around_it(serve: Serve) -> None:
    server, file = serve()
    proxy = RawServer(lambda talk: talk.answer(403))
    try:
        with pytest.raises(StoreUnreachable):
            store_at(server, ca_file=str(file), proxy=proxy.url).get("a")
        assert server.talks == []
    finally:
        proxy.stop()


def tunnel(talk: Talk) -> None:
    host, _, port = talk.target.partition(":")
    with socket.create_connection((host, int(port))) as server:
        talk.send(b"HTTP/1.1 200 Established\r\n\r\n")
        threading.Thread(target=pump, args=(server, talk.connection), daemon=True).start()
        pump(talk.connection, server)


def pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
