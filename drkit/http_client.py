"""HTTP clients: the one place that knows which library is used and how TLS and time-outs are set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drkit.io_policy import Deadline

if TYPE_CHECKING:
    import httpx


def open_client(
    base_url: str, deadline: Deadline, *, headers: dict[str, str] | None = None
) -> httpx.Client:
    """A thread-safe client with pooled connections; the caller closes it. TLS is verified.

    Redirects are not followed and proxies come from the environment, but never for loopback.
    """
    import httpx

    return httpx.Client(
        base_url=base_url,
        headers=headers,
        timeout=httpx.Timeout(deadline.total_s, connect=deadline.connect_s),
        trust_env=not _is_loopback(base_url),
    )


def _is_loopback(url: str) -> bool:
    host = url.split("://", 1)[-1].split("/", 1)[0].rsplit(":", 1)[0].strip("[]")
    return host == "localhost" or host == "::1" or host.startswith("127.")
