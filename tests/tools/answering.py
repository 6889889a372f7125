"""A server that answers once and for all, and what a reading of it may say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from raw_server import RawServer, Talk

from drkit.compute.interface import Endpoint
from drkit.health.interface import Verdict

NOW = datetime.now(UTC)
PASSED, FAILED, NOT_MEASURED = Verdict.PASSED, Verdict.FAILED, Verdict.NOT_MEASURED


@contextmanager
def answering(answer: Callable[[Talk], None], **more: Any) -> Iterator[RawServer]:
    server = RawServer(answer, **more)
    try:
        yield server
    finally:
        server.stop()


def says(status: int, body: str | bytes = b"") -> Callable[[Talk], None]:
    content = body.encode() if isinstance(body, str) else body

    def step(talk: Talk) -> None:
        talk.read_body()
        talk.answer(status, content)

    return step


def at(server: RawServer) -> Endpoint:
    return Endpoint("http", "127.0.0.1", server.port)
