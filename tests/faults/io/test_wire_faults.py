"""The wire itself, on servers that break off, talk without end, and close what was kept."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from raw_server import RawServer, Step, Talk

from drkit import http_wire
from drkit.clock import SystemClock
from drkit.http_client import NoAnswer
from drkit.http_wire import Reply, Route, Wire
from drkit.io_policy import Deadline
from drkit.pace import Allowance

DEADLINE = Deadline(connect_s=2, total_s=20)
Ask = Callable[[], Reply]
ENDS_ARRIVED = (5, 7)  # FIN-WAIT-2, and closed by both


@pytest.fixture
def ask() -> Iterator[Callable[..., tuple[Ask, RawServer]]]:
    ends: list[Callable[[], None]] = []

    def open_on(*steps: Step) -> tuple[Ask, RawServer]:
        server, wire = RawServer(*steps), Wire(Route(), clock=SystemClock())
        ends.extend((wire.close, server.stop))

        def once() -> Reply:
            allowance = Allowance(DEADLINE, SystemClock())
            return wire.send("GET", f"{server.url}/x", {"Host": "x"}, (), allowance=allowance)

        return once, server

    yield open_on
    for end in ends:
        end()


def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        time.sleep(0.001)


def unacknowledged_bytes(connection: socket.socket) -> int:
    """How much of what was sent has not arrived yet (tcp(7))."""
    (count,) = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))
    return int(count)


def tcp_state(connection: socket.socket) -> int:
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def breaks_off(talk: Talk) -> None:
    talk.answer(200, b"half", length=8)
    talk.close()


@pytest.mark.parametrize("amount", [None, 3, 8, 100])
def test_fewer_bytes_than_announced_are_never_taken_for_all(
    ask: Callable[..., tuple[Ask, RawServer]], amount: int | None
) -> None:
    once, _server = ask(breaks_off)
    body = once().body
    with pytest.raises(NoAnswer):
        while body.read(amount):
            pass


def test_a_text_without_end_is_left(
    ask: Callable[..., tuple[Ask, RawServer]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(talk: Talk) -> None:
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        while not talk.stopping.is_set():
            talk.send(bytes(65536))

    monkeypatch.setattr(http_wire, "MOST_TEXT_BYTES", 1_000_000)
    once, _server = ask(endless)
    with pytest.raises(NoAnswer, match="without end"):
        for _ in once().body.stream():
            pass


def test_a_connection_is_kept_for_the_next_request_once_its_answer_was_read(
    ask: Callable[..., tuple[Ask, RawServer]],
) -> None:
    once, server = ask(lambda talk: talk.answer(200, b"whole"))
    for _ in range(3):
        assert once().body.read() == b"whole"
    assert server.connections == 1
    once().body.close()  # unread: what comes next on it would be this answer's rest
    assert once().body.read() == b"whole"
    assert server.connections == 2


def test_a_kept_connection_that_the_server_closed_is_not_used(
    ask: Callable[..., tuple[Ask, RawServer]],
) -> None:
    closed = threading.Semaphore(0)

    def answers_and_closes(talk: Talk) -> None:
        talk.answer(200, b"whole")
        talk.connection.shutdown(socket.SHUT_WR)
        until(lambda: tcp_state(talk.connection) in ENDS_ARRIVED)
        closed.release()

    once, server = ask(answers_and_closes)
    for _ in range(3):
        assert once().body.read() == b"whole"
        assert closed.acquire(timeout=60)
    assert server.connections == 3


def test_what_a_server_says_unasked_is_no_answer_to_the_next_request(
    ask: Callable[..., tuple[Ask, RawServer]],
) -> None:
    said = threading.Semaphore(0)

    def adds(talk: Talk) -> None:
        talk.answer(200, b"whole")
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfake")
        until(lambda: unacknowledged_bytes(talk.connection) == 0)
        said.release()

    once, _server = ask(adds)
    for _ in range(3):
        assert once().body.read() == b"whole"
        assert said.acquire(timeout=60)
