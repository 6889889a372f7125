"""Cuts connections that hang or crawl, whatever library made them (S10).

A request runs under `watched`; the connection it uses is attached by its pool (`watching_pool`).
One thread looks at all lines several times a second and asks the kernel how many bytes the other
end acknowledged or sent: so a server that drips headers, takes nothing, or stops in mid-body is
cut by a shutdown of the socket, and the blocked call ends with the library's connection error.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from drkit.io_policy import Deadline

_LOOK_EVERY_S = 0.2
# struct tcp_info of Linux: tcpi_bytes_acked and tcpi_bytes_received, since kernel 4.1.
_TCP_INFO_BYTES = 136
_MOVED = struct.Struct("=QQ")
_MOVED_AT = 120


class Line:
    """One request's connection. `cut` says in words why it was cut, or is None."""

    def __init__(self, deadline: Deadline, size_bytes: int, total_s: float) -> None:
        self.cut: str | None = None
        self._ends_s = time.monotonic() + total_s
        self._total_s = total_s
        self._window_s = deadline.window_s
        self._least = int(deadline.min_bytes_per_s * deadline.window_s)
        self._paced = 0 < self._least <= size_bytes
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._seen: deque[tuple[float, int]] = deque()

    def attach(self, connected: Any) -> None:
        """The socket that the request uses from now on; `connected` has a `fileno()`."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            # A duplicate: shut down from another thread, it ends the original's TLS and plain
            # reads alike, and its number cannot be given to another file meanwhile.
            self._socket = socket.socket(fileno=os.dup(connected.fileno()))
            self._seen.clear()
            if self.cut is not None:
                self._shut()

    def look(self, now_s: float) -> None:
        """Cuts the line if it is over its time or under its rate."""
        with self._lock:
            if self.cut is not None:
                return
            if now_s >= self._ends_s:
                self._cut(f"did not finish within {self._total_s:.0f} s")
            elif self._paced and self._socket is not None:
                self._compare(now_s, self._socket)

    def release(self) -> None:
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def _compare(self, now_s: float, connected: socket.socket) -> None:
        moved = _moved_bytes(connected)
        if moved is None:
            return
        self._seen.append((now_s, moved))
        while len(self._seen) > 1 and now_s - self._seen[1][0] >= self._window_s:
            self._seen.popleft()
        since_s, before = self._seen[0]
        if now_s - since_s >= self._window_s and moved - before < self._least:
            self._cut(f"moved {moved - before} bytes in {now_s - since_s:.0f} s")

    def _cut(self, why: str) -> None:
        self.cut = why
        self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


class _Watch:
    """The thread that looks; it ends when there is nothing to look at."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: set[Line] = set()
        self._running = False

    def add(self, line: Line) -> None:
        with self._lock:
            self._lines.add(line)
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="store deadlines", daemon=True).start()

    def remove(self, line: Line) -> None:
        with self._lock:
            self._lines.discard(line)

    def _run(self) -> None:
        idle = 0
        while True:
            time.sleep(_LOOK_EVERY_S)
            with self._lock:
                lines = tuple(self._lines)
                idle = 0 if lines else idle + 1
                if idle > 50:
                    self._running = False
                    return
            for line in lines:
                line.look(time.monotonic())


_WATCH = _Watch()
_LOCAL = threading.local()


@contextmanager
def watched(
    deadline: Deadline, *, size_bytes: int = 0, total_s: float | None = None
) -> Iterator[Line]:
    """A line for what this thread requests inside: `deadline.for_bytes(size_bytes)` seconds in
    all, or `total_s` if that is less, and the minimum rate for a body that is long enough for it.
    """
    allowed_s = deadline.for_bytes(size_bytes)
    line = Line(deadline, size_bytes, allowed_s if total_s is None else min(allowed_s, total_s))
    outer = getattr(_LOCAL, "line", None)
    _LOCAL.line = line
    _WATCH.add(line)
    try:
        yield line
    finally:
        _LOCAL.line = outer
        _WATCH.remove(line)
        line.release()


def watching_pool(pool: type[Any]) -> type[Any]:
    """urllib3's pool class `pool` (or a library's own subclass of it), whose connections attach
    themselves to the line of the thread that uses them."""

    class Connection(pool.ConnectionCls):  # type: ignore[misc, name-defined]
        def _new_conn(self) -> Any:
            connected = super()._new_conn()
            _attach(connected)
            return connected

        def request(self, *args: Any, **kwargs: Any) -> Any:
            if self.sock is not None:
                _attach(self.sock)
            return super().request(*args, **kwargs)

    return type(f"Watched{pool.__name__}", (pool,), {"ConnectionCls": Connection})


def _attach(connected: Any) -> None:
    line: Line | None = getattr(_LOCAL, "line", None)
    if line is not None:
        line.attach(connected)


def _moved_bytes(connected: socket.socket) -> int | None:
    """Bytes that the other end has acknowledged and sent; None where the kernel does not say."""
    try:
        info = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    except OSError:
        return None
    if len(info) < _TCP_INFO_BYTES:
        return None
    acked, received = _MOVED.unpack_from(info, _MOVED_AT)
    return int(acked) + int(received)
