"""Once the guard stands, nothing of the process leaves this machine: seen in a real process."""

from __future__ import annotations

import subprocess
import sys

import pytest

PREPARE = "import socket; from drkit.sandbox.guard import refuse_beyond_loopback as on; on(); on();"
UDP = "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"


def run(code: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", PREPARE + code]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize(
    "code",
    [
        "socket.create_connection(('192.0.2.1', 9), timeout=1)",
        "socket.socket().connect_ex(('192.0.2.1', 9))",
        "socket.socket(socket.AF_INET6).connect(('2001:db8::1', 9))",
        f"{UDP}.sendto(b'x', ('192.0.2.1', 9))",
        f"{UDP}.sendmsg([b'x'], [], 0, ('192.0.2.1', 9))",
        "socket.getaddrinfo('example.org', 443)",
        "socket.gethostbyname('example.org')",
    ],
)
def test_whatever_leads_off_this_machine_is_refused(code: str) -> None:
    done = run(code)
    assert done.returncode == 1
    assert "GuardRefused" in done.stderr


def test_loopback_is_left_alone() -> None:
    done = run(
        "s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection("
        "s.getsockname(), timeout=5); c.sendall(b'x'); u = "
        f"{UDP}; u.sendto(b'x', ('127.0.0.5', 9)); "
        "socket.getaddrinfo('localhost', 1); socket.getaddrinfo(None, 0)"
    )
    assert done.returncode == 0, done.stderr
