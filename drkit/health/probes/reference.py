"""Can this machine reach anything at all? Asked only when the service seems not to answer."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from drkit.health.interface import REFERENCE, ProbeResult, Verdict

_TIMEOUT_S = 3.0


def reach(hosts: Sequence[str]) -> ProbeResult:
    """PASSED when one of `hosts` ("host:port") takes a connection, FAILED when none does within
    3 s, NOT_MEASURED without hosts. Nothing is sent.
    """
    if not hosts:
        return ProbeResult(REFERENCE, Verdict.NOT_MEASURED, "no reference hosts are configured")
    with ThreadPoolExecutor(len(hosts)) as pool:
        taken = list(pool.map(_takes, hosts))
    if any(taken):
        first = hosts[taken.index(True)]
        return ProbeResult(REFERENCE, Verdict.PASSED, f"{first} can be reached")
    return ProbeResult(REFERENCE, Verdict.FAILED, f"none of {', '.join(hosts)} can be reached")


def _takes(host: str) -> bool:
    name, _, port = host.rpartition(":")
    try:
        socket.create_connection((name.strip("[]"), int(port)), _TIMEOUT_S).close()
    except (OSError, ValueError):
        return False
    return True
