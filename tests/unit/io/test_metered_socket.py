"""A socket on an allowance, at one end of a pair, with time turned by hand."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from drkit.clock import ManualClock
from drkit.io_policy import Deadline
from drkit.metered_socket import MeteredSocket
from drkit.pace import Allowance, Throttle

DEADLINE = Deadline(connect_s=5, total_s=60, min_bytes_per_s=1000)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    yield one, other
    one.close()
    other.close()


Pair = tuple[socket.socket, socket.socket]


def test_what_is_sent_arrives_and_what_comes_is_read(pair: Pair) -> None:
    metered = MeteredSocket(pair[0], Allowance(DEADLINE, ManualClock()))
    metered.sendall(memoryview(b"there"))
    assert pair[1].recv(100) == b"there"
    pair[1].sendall(b"line\r\nrest")
    with metered.makefile("rb") as file:
        assert file.readline() == b"line\r\n"
        assert file.read(4) == b"rest"


def test_S10_when_the_time_is_up_the_connection_is_cut(pair: Pair) -> None:
    clock = ManualClock()
    metered = MeteredSocket(pair[0], Allowance(DEADLINE, clock))
    clock.advance(31)
    with pytest.raises(TimeoutError):
        metered.sendall(b"x")
    assert pair[1].recv(100) == b""


def test_S10_an_allowance_that_is_over_is_renewed_by_the_next_request(pair: Pair) -> None:
    clock = ManualClock()
    metered = MeteredSocket(pair[0], Allowance(DEADLINE, clock))
    clock.advance(31)
    metered.allowance = Allowance(DEADLINE, clock)
    metered.sendall(b"x")
    assert pair[1].recv(100) == b"x"


def test_both_directions_go_at_their_own_limit(pair: Pair) -> None:
    clock = ManualClock()
    metered = MeteredSocket(
        pair[0], Allowance(DEADLINE, clock), Throttle(1000, clock), Throttle(100, clock)
    )
    began_s = clock.elapsed_s()
    metered.sendall(bytes(20_000))
    assert clock.elapsed_s() - began_s == pytest.approx(20, abs=1.1)
    pair[1].sendall(bytes(1000))
    began_s = clock.elapsed_s()
    assert metered.recv_into(bytearray(1000)) == 1000
    assert clock.elapsed_s() - began_s == pytest.approx(10, abs=1.1)


def test_the_socket_lives_as_long_as_a_file_of_it(pair: Pair) -> None:
    metered = MeteredSocket(pair[0], Allowance(DEADLINE, ManualClock()))
    file = metered.makefile("rb")
    metered.close()
    pair[1].sendall(b"rest")
    assert file.read(4) == b"rest"
    file.close()
    assert pair[0].fileno() == -1
