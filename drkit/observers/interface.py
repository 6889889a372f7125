"""Who is told of alerts. What is told is also in the state and in the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from drkit.errors import PlaceError


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that was raised or cleared. `id` is the same however often it is told; `text` says
    what was measured. No part of it is secret. `sandbox`: it is a rehearsal's.
    """

    id: str
    service: str
    name: str
    level: Literal["warning", "critical"]
    state: Literal["raised", "cleared"]
    text: str
    metric: str
    value: float | None
    limit: float
    at: datetime
    host: str
    sandbox: bool = False


def alert_json(alert: Alert) -> Mapping[str, Any]:
    """The alert as every observer that speaks JSON tells it (docs/formats.md)."""
    return {
        "drkit": 1,
        "id": alert.id,
        "service": alert.service,
        "alert": alert.name,
        "level": alert.level,
        "state": alert.state,
        "text": alert.text,
        "metric": alert.metric,
        "value": alert.value,
        "limit": alert.limit,
        "at": alert.at.isoformat(),
        "host": alert.host,
        "sandbox": alert.sandbox,
    }


class ObserverFailed(PlaceError):
    """The alert was not told, or it is not known whether it was."""


class Observer(Protocol):
    """One who is told. Thread-safe."""

    @property
    def name(self) -> str:
        """What the configuration calls it."""
        ...

    def notice(self, alert: Alert) -> None:
        """Tells the whole alert; it has arrived when this returns, else `ObserverFailed`.

        MAY be called twice with the same alert, whose `id` is then the same. MUST end within
        `OBSERVER_CALL.total_s` and leave nothing running. A message says nothing of a token.
        """
        ...
