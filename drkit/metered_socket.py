"""A socket, as far as http.client needs one, whose every call gets what is left of an allowance."""

from __future__ import annotations

import contextlib
import io
import socket

from drkit.pace import Allowance, Throttle

Buffer = bytes | bytearray | memoryview

_SLICE_BYTES = 256 * 1024
_READ_AHEAD_BYTES = 64 * 1024
_TOLERANCE = 0.05  # of a time-out: setting it anew for each call would cost more than the call


class MeteredSocket:
    """Closed by whoever holds it, and once the last file made of it is closed, as a socket is."""

    def __init__(
        self,
        sock: socket.socket,
        allowance: Allowance,
        sending: Throttle | None = None,
        receiving: Throttle | None = None,
    ) -> None:
        self.allowance = allowance
        self._sock = sock
        self._sending = sending
        self._receiving = receiving
        self._set_s = 0.0
        self._files = 0
        self._closed = False

    def sendall(self, data: Buffer) -> None:
        view = memoryview(data).cast("B")
        for start in range(0, len(view), _SLICE_BYTES):
            part = view[start : start + _SLICE_BYTES]
            self.allowance.wait_for(self._sending, len(part))
            while part:
                self._arm()
                count = self._sock.send(part)
                self.allowance.moved(count)
                part = part[count:]

    def recv_into(self, buffer: bytearray | memoryview) -> int:
        view = memoryview(buffer)
        if self._receiving is not None:
            view = view[:_SLICE_BYTES]
        self._arm()
        count = self._sock.recv_into(view)
        self.allowance.moved(count)
        self.allowance.wait_for(self._receiving, count)
        return count

    def makefile(self, _mode: str) -> io.BufferedReader:
        self._files += 1
        return io.BufferedReader(_Reader(self), _READ_AHEAD_BYTES)

    def fileno(self) -> int:
        return self._sock.fileno()

    def cut(self) -> None:
        """Ends a call that another thread waits in."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._closed = True
        self._let_go()

    def file_closed(self) -> None:
        self._files -= 1
        self._let_go()

    def _let_go(self) -> None:
        if self._closed and not self._files:
            self._sock.close()

    def _arm(self) -> None:
        left_s = self.allowance.left_s()
        if left_s <= 0:
            self.cut()
            raise TimeoutError("its time is up")
        if abs(left_s - self._set_s) > _TOLERANCE * self._set_s:
            self._sock.settimeout(left_s)
            self._set_s = left_s


class _Reader(io.RawIOBase):
    def __init__(self, sock: MeteredSocket) -> None:
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        return self._sock.recv_into(buffer)

    def close(self) -> None:
        if not self.closed:
            self._sock.file_closed()
        super().close()
