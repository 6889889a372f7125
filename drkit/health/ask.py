"""One HTTP request with a deadline that holds whatever the server does, and a bounded answer."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drkit.clock import Clock
from drkit.compute.interface import Endpoint
from drkit.http_client import NoAnswer, answering, open_client
from drkit.io_policy import Deadline

MOST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    latency_s: float

    def json(self) -> Any:
        """The body as JSON; None where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


def ask(
    endpoint: Endpoint,
    method: str,
    path: str,
    deadline: Deadline,
    *,
    clock: Clock,
    api_key: str | None = None,
    body: Mapping[str, Any] | None = None,
    trust: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """The answer. Raises `NoAnswer` at `deadline.total_s` at the latest, also when a server sends
    a byte now and then: the library's own limit counts from the last byte.
    """
    sent = dict(headers or {})
    if api_key:
        sent["Authorization"] = f"Bearer {api_key}"
    if endpoint.host_header:
        sent["Host"] = endpoint.host_header
    outcome: queue.Queue[Reply | BaseException] = queue.Queue()

    with open_client(endpoint.url, deadline, headers=sent, trust=trust) as client:

        def work() -> None:
            try:
                begun_s = clock.elapsed_s()
                with answering(endpoint.url), client.stream(method, path, json=body) as answer:
                    content = bytearray()
                    for piece in answer.iter_bytes():
                        content += piece
                        if len(content) > MOST_BYTES:
                            raise _no_answer(endpoint, f"sent over {MOST_BYTES} bytes", False)
                    reply = Reply(answer.status_code, bytes(content), clock.elapsed_s() - begun_s)
                    outcome.put(reply)
            except BaseException as error:
                outcome.put(error)

        threading.Thread(target=work, daemon=True).start()
        try:
            reply = outcome.get(timeout=deadline.total_s)
        except queue.Empty:
            raise _no_answer(endpoint, "did not answer in time", True) from None
    if isinstance(reply, Reply):
        return reply
    raise reply


def _no_answer(endpoint: Endpoint, what: str, timed_out: bool) -> NoAnswer:
    return NoAnswer(
        f"{endpoint.url} {what}",
        hint="look at the server's log and its metrics",
        sent=True,
        timed_out=timed_out,
    )
