"""SIGTERM and Ctrl-C ask a run to stop where `drkit runs resume` can take it up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """`name` of the signal that asked, or None. Setting it twice changes nothing."""

    def __init__(self) -> None:
        self.name: str | None = None

    def ask(self, name: str) -> None:
        self.name = self.name or name


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """A request that SIGTERM and SIGINT set; handlers are put back. Only the main thread can
    listen, elsewhere it stays unset.
    """
    request = StopRequest()

    def handle(number: int, _frame: FrameType | None) -> None:
        request.ask(signal.Signals(number).name)

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    former = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
