"""In the sandbox no socket leaves this machine: whatever asks for one is refused."""

from __future__ import annotations

import ipaddress
import sys
from typing import Any

from drkit.errors import GuardRefused

_WITH_ADDRESS = ("socket.connect", "socket.sendto", "socket.sendmsg")
_LOOK_UPS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
_installed = False


def refuse_beyond_loopback() -> None:
    """From now on, for the life of the process, connecting beyond loopback raises `GuardRefused`.

    So does looking a name up, which would ask a server elsewhere before any socket is opened here.
    """
    global _installed
    if not _installed:
        sys.addaudithook(_watch)
        _installed = True


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _WITH_ADDRESS:
        address = arguments[1]
    elif event in _LOOK_UPS:
        address = (_text(arguments[0]), 0) if arguments[0] else None
    else:
        return
    if not is_local(address):
        raise GuardRefused(
            f"the sandbox was about to reach {address!r}",
            hint="this is a bug in the sandbox's mapping; nothing was sent",
        )


def is_local(address: object) -> bool:
    """Whether a socket address is on this machine: loopback, a Unix or a connected socket."""
    if not isinstance(address, tuple):
        return address is None or isinstance(address, str | bytes)
    try:
        return ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback
    except ValueError:
        return str(address[0]) == "localhost"


def _text(host: str | bytes) -> str:
    return host.decode("latin-1") if isinstance(host, bytes) else host
