"""Who listens to events: the log, metrics, alerts. An observer never raises into the work."""

from __future__ import annotations

from typing import Protocol

from drkit.events import Event


class Observer(Protocol):
    def notice(self, event: Event) -> None:
        """Takes note of the event; its own failures are its own."""
        ...
