"""Is the certificate of a name the right one, and for how long still? A signal of the name, which
moves nothing: the server behind it is watched by its address (H1).
"""

from __future__ import annotations

import socket
import ssl
from datetime import datetime

from drkit.health.around.readings import Reading, failed, passed
from drkit.health.measures.window import Value

_TIMEOUT_S = 5.0
_DAY_S = 86400.0


def read_tls(place: str, now: datetime, *, trust: str | None = None) -> Reading:
    """Of `place`, "name" or "name:port" (443): PASSED with the days that are left (`tls_days`).

    FAILED where nothing answers, and where a client would refuse it: another name, expired, or
    issued by nobody that this machine (or the PEM file `trust`) trusts.
    """
    name, port = split_place(place)
    probe = f"tls {place}"
    context = ssl.create_default_context(cafile=trust)
    try:
        with socket.create_connection((name, port), _TIMEOUT_S) as connection:
            with context.wrap_socket(connection, server_hostname=name) as talk:
                shown = talk.getpeercert()
    except ssl.SSLCertVerificationError as error:
        return failed(probe, f"no client would trust it: {error.verify_message}")
    except (OSError, ValueError) as error:
        return failed(probe, f"no TLS there: {error}")
    ends = shown.get("notAfter") if shown else None
    if not isinstance(ends, str):
        return failed(probe, "it shows no certificate")
    days = (ssl.cert_time_to_seconds(ends) - now.timestamp()) / _DAY_S
    return passed(probe, f"valid for {days:.0f} days", tls_days=Value(days, 1))


def split_place(place: str) -> tuple[str, int]:
    """("name", 443) of "name", "name:8443", "[::1]:8443"."""
    if place.startswith("["):
        host, _, rest = place[1:].partition("]")
        return host, int(rest.removeprefix(":") or 443)
    host, _, port = place.partition(":")
    return host, int(port or 443)
