"""In the sandbox no socket leaves this machine: whatever asks for one is refused."""

from __future__ import annotations

import ipaddress
import sys
from typing import Any

from drkit.errors import GuardRefused

_installed = False


def refuse_beyond_loopback() -> None:
    """From now on, for the life of the process, connecting beyond loopback raises `GuardRefused`."""
    global _installed
    if not _installed:
        sys.addaudithook(_watch)
        _installed = True


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto") and not is_local(arguments[1]):
        raise GuardRefused(
            f"the sandbox was about to reach {arguments[1]!r}",
            hint="this is a bug in the sandbox's mapping; nothing was sent",
        )


def is_local(address: object) -> bool:
    """Whether a socket address is on this machine: loopback, or a Unix socket."""
    if not isinstance(address, tuple):
        return isinstance(address, str | bytes)
    try:
        return ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback
    except ValueError:
        return str(address[0]) == "localhost"
