"""Tells an alert to everyone at once; whoever fails or hangs holds up nobody."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping, Sequence

from drkit.errors import DrkitError
from drkit.io_policy import OBSERVER_CALL
from drkit.observers.interface import Alert, Observer

GRACE_S = 2.0


def tell(
    told: Sequence[tuple[Observer, Sequence[Alert]]],
    *,
    limit_s: float = OBSERVER_CALL.total_s + GRACE_S,
) -> Mapping[tuple[str, str], str | None]:
    """For each (observer, alert id) None, or why it was not told. Returns within `limit_s`.

    Each observer is told its alerts in their order, and no further one after the first failure.
    """
    outcomes: queue.Queue[tuple[str, str, str | None]] = queue.Queue()

    def work(observer: Observer, alerts: Sequence[Alert]) -> None:
        failure: str | None = None
        for alert in alerts:
            failure = failure or _noticed(observer, alert)
            outcomes.put((observer.name, alert.id, failure))

    for observer, alerts in told:
        threading.Thread(target=work, args=(observer, alerts), daemon=True).start()
    late = f"did not return within {limit_s:g} s"
    found: dict[tuple[str, str], str | None] = {
        (observer.name, alert.id): f"{observer.name}: {late}"
        for observer, alerts in told
        for alert in alerts
    }
    ends_s = time.monotonic() + limit_s
    for _ in range(len(found)):
        try:
            name, alert_id, failure = outcomes.get(timeout=max(0.0, ends_s - time.monotonic()))
        except queue.Empty:
            break
        found[name, alert_id] = failure
    return found


def _noticed(observer: Observer, alert: Alert) -> str | None:
    try:
        observer.notice(alert)
    except DrkitError as error:
        return error.message
    except Exception as error:
        return f"{observer.name}: {type(error).__name__}"
    return None
