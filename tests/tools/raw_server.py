"""A server of raw sockets that misbehaves by script: one step for each request, the last one for
all that follow."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

Step = Callable[["Talk"], None]


@dataclass
class Talk:
    """One request that was read up to its body, and the socket to answer on."""

    connection: socket.socket
    method: str
    target: str
    headers: dict[str, str]
    early: bytes
    stopping: threading.Event
    body: bytes = field(default=b"")
    whole: bool = False

    def read_body(self) -> bytes:
        """All of it; the second time from memory."""
        if self.whole:
            return self.body
        length = int(self.headers.get("content-length", 0))
        read = bytearray(self.early)
        while len(read) < length and (more := self.connection.recv(1 << 20)):
            read += more
        self.body, self.whole = bytes(read), True
        return self.body

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def answer(
        self, status: int, body: bytes = b"", *, length: int | None = None, **headers: str
    ) -> None:
        """A whole answer, or one that announces `length` and sends `body`."""
        size = len(body) if length is None else length
        lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {size}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def error(self, status: int, code: str, **headers: str) -> None:
        self.read_body()
        text = f"<Error><Code>{code}</Code><Message>said so</Message></Error>"
        self.answer(status, text.encode(), **headers)

    def reset(self) -> None:
        """Closes so that the other end sees a reset and not an end."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close()

    def close(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RD)
        self.connection.close()


class RawServer:
    """Listens on loopback until `stop`; `talks` holds all requests so far."""

    def __init__(self, *steps: Step, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.talks: list[Talk] = []
        self.connections = 0
        self._steps: Sequence[Step] = steps
        self._came = threading.Condition()
        self._stopping = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def heard(self, count: int) -> bool:
        """Whether so many requests have come: whoever asked may be gone before one is read."""
        with self._came:
            return self._came.wait_for(lambda: len(self.talks) >= count, timeout=60)

    @property
    def port(self) -> int:
        return int(self._listening.getsockname()[1])

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Whoever serves a connection closes it: a number that is free again may be another test's
        connection, and bytes of that one would be read here.
        """
        self._stopping.set()
        for connection in (self._listening, *self._open):
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                self._listening.close()
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with suppress(OSError, ValueError):
                if self._tls is not None:
                    connection = self._tls.wrap_socket(connection, server_side=True)
                    self._open.append(connection)
                while (talk := self._read(connection)) is not None:
                    with self._came:
                        self.talks.append(talk)
                        self._came.notify_all()
                        step = self._steps[min(len(self.talks), len(self._steps)) - 1]
                    step(talk)
        finally:
            connection.close()

    def _read(self, connection: socket.socket) -> Talk | None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (more := connection.recv(65536)):
                return None
            head += more
        head, _, early = head.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _version = first.split(" ")
        pairs = [line.split(":", 1) for line in lines]
        headers = {name.strip().lower(): value.strip() for name, value in pairs}
        return Talk(connection, method, target, headers, early, self._stopping)


def hangs(talk: Talk) -> None:
    """Reads nothing more and says nothing until the server stops."""
    talk.stopping.wait()


def resets(talk: Talk) -> None:
    talk.reset()


def drips(talk: Talk) -> None:
    """Promises a body and sends a byte of it now and then."""
    talk.read_body()
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while not talk.stopping.wait(0.02):
        talk.send(b"x")


def says(status: int, code: str, **headers: str) -> Step:
    return lambda talk: talk.error(status, code, **headers)
