"""How far a server's clock is from ours, by the Date of its answers."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def skew_of(date: str | None, now: datetime) -> float | None:
    """Seconds that the server's clock is ahead; to the second, as Date is. None: it said none."""
    try:
        said = parsedate_to_datetime(date or "")
    except (TypeError, ValueError):
        return None
    if said.tzinfo is None:
        said = said.replace(tzinfo=UTC)
    return (said - now).total_seconds()
