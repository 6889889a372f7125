"""A service's health as JSON: rounds are made by one short command after another."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from drkit.health.interface import ServiceHealth, ServiceState


def health_json(health: ServiceHealth) -> dict[str, Any]:
    return {
        "state": health.state.value,
        "failed_rounds": health.failed_rounds,
        "good_rounds": health.good_rounds,
        "ever_healthy": health.ever_healthy,
        "first_failed_at": health.first_failed_at.isoformat() if health.first_failed_at else None,
        "first_failed_elapsed_s": health.first_failed_elapsed_s,
        "last_round_elapsed_s": health.last_round_elapsed_s,
        "home": health.home.value,
        "committed": health.committed,
        "suspicions": list(health.suspicions),
        "blind": health.blind,
    }


def health_from(value: Any) -> ServiceHealth:
    """The health in `value`; one that cannot be read is as none, and is learnt anew."""
    try:
        at = value["first_failed_at"]
        return ServiceHealth(
            ServiceState(value["state"]),
            int(value["failed_rounds"]),
            int(value["good_rounds"]),
            bool(value["ever_healthy"]),
            datetime.fromisoformat(at) if at else None,
            _seconds(value["first_failed_elapsed_s"]),
            _seconds(value["last_round_elapsed_s"]),
            ServiceState(value["home"]),
            bool(value["committed"]),
            tuple(float(each) for each in value["suspicions"]),
            bool(value["blind"]),
        )
    except (KeyError, TypeError, ValueError):
        return ServiceHealth()


def _seconds(value: Any) -> float | None:
    return None if value is None else float(value)
