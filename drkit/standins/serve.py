"""Runs one ASGI application on one loopback address until SIGTERM, with a quiet log."""

from __future__ import annotations

import ipaddress
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp

DRAIN_S = 0  # a stand-in that is told to stop drops what it was at


def serve(app: ASGIApp, host: str, port: int) -> int:
    """Blocks until SIGTERM or SIGINT; 0, or 1 where the address cannot be had."""
    import uvicorn

    if not ipaddress.ip_address(host).is_loopback:
        print(f"a stand-in listens on loopback only, not on {host}", file=sys.stderr)
        return 1
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        http="h11",
        loop="asyncio",
        server_header=False,
        timeout_graceful_shutdown=DRAIN_S,
    )
    server = uvicorn.Server(config)
    print(f"serving on {host}:{port}", flush=True)
    server.run()
    return 0 if server.started else 1
