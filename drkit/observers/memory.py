"""An observer that remembers, and can be told to fail or to hang."""

from __future__ import annotations

import threading

from drkit.observers.interface import Alert, ObserverFailed


class MemoryObserver:
    """`told` holds every alert in order."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.told: list[Alert] = []
        self.fails = self.fails_once = False
        self.hangs = threading.Event()
        self.hangs.set()

    @property
    def name(self) -> str:
        return self._name

    def notice(self, alert: Alert) -> None:
        self.hangs.wait()
        if self.fails or self.fails_once:
            self.fails_once = False
            raise ObserverFailed(f"{self._name} was told to fail", hint="tell it to work again")
        self.told.append(alert)
