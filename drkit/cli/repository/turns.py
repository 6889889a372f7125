"""What was read back when, as `check` and `status` say it."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drkit.cli.session import Session
    from drkit.repository.check.read_turns import ReadLog
    from drkit.wiring import App


def tell_turns(
    session: Session, store: str, log: ReadLog, today: date, *, source: str = ""
) -> None:
    """One store's packs, or its copy of the weights `source`."""
    values = {"store": store, "source": source or None, "days": log.of, "turns_read": len(log.read)}
    values["since"] = str(log.whole_since or log.since)
    values["last"] = str(max(log.read.values())) if log.read else None
    session.terminal.result("read_turns", values, turns_text(store, log, today, source=source))


def tell_all_turns(session: Session, app: App) -> None:
    """What this machine remembers; a schedule that has read nothing so far is told too."""
    from drkit.operations.checks.reading_log import packs_log, read_logs, weights_log

    today = app.clock.now().date()
    packs = read_logs(packs_log(app.state_dir))
    for store, log in packs.items():
        tell_turns(session, store, log, today)
    for source in app.weights_sources:
        for store, log in read_logs(weights_log(app.state_dir, source)).items():
            tell_turns(session, store, log, today, source=source)
    if not packs and any(job.run == "check" for job in app.config.schedules.values()):
        session.terminal.say("nothing was read back by this machine so far: drkit check --due")


def turns_text(store: str, log: ReadLog, today: date, *, source: str = "") -> str:
    place = f"{source} in {store}" if source else store
    if log.whole_since is not None:
        days = (today - log.whole_since).days
        what = "file" if source else "pack"
        return f"{place}: every {what} was read within the last {days + 1} of {log.of} days"
    return f"{place}: {len(log.read)} of {log.of} parts were read since {log.since}"
