"""What `drkit probe` shows beside the server itself: its surroundings, numbers, and alerts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from drkit.cli.session import Session

if TYPE_CHECKING:
    from drkit.operations.alerts.around import Seen
    from drkit.operations.watch.watch import Watched
    from drkit.wiring import App
    from drkit.wiring.around import Attended

COLUMNS = ("probe", "verdict", "latency_s", "age_s", "detail")

_OF_THE_STATE = ("down", "flapping", "blind")
"""Limits are set on them too; people read the state's name."""


def show_round(
    session: Session, app: App, watched: Watched, *, everything: bool, tells: bool
) -> None:
    """The whole table of a round; alerts that began or ended, and what could not be told.

    `tells`: this machine is the one that alerts.
    """
    from drkit.errors import DrkitError
    from drkit.events import Note
    from drkit.wiring.around import attend
    from drkit.wiring.watch import open_watch

    attended = None
    try:
        attended = attend(app, open_watch(app), watched, everything=everything, tells=tells)
    except DrkitError as error:  # the round itself is done, and counts
        session.terminal.emit(Note("error", "alerts", f"{error.message}; {error.hint}"))
    _show_probes(session, watched, attended.seen if attended else ())
    if attended is None:
        return
    minutes = app.config.alerts.window / 60
    if session.json_lines or session.verbosity >= 0:
        session.terminal.say(f"\nmeasured over the last {minutes:g} minutes:")
        _show_measures(session, _measured(attended))
    _tell_alerts(session, attended)


def _show_probes(session: Session, watched: Watched, seen: Sequence[Seen]) -> None:
    """The round's own results, and those of what lies around, which may be a while old."""
    from drkit.health.interface import Verdict

    results = [(result, 0.0) for result in watched.observation.results]
    results += [(each.reading.result, each.age_s) for each in seen]
    rows = [
        {
            "probe": result.probe,
            "verdict": result.verdict.value,
            "latency_s": None if result.latency_s is None else round(result.latency_s, 4),
            "age_s": round(age_s),
            "detail": result.detail,
        }
        for result, age_s in results
    ]
    if session.verbosity < 0 and not session.json_lines:  # the daemon's log wants no more
        rows = [row for row in rows if row["verdict"] == Verdict.FAILED.value]
    if rows:
        session.terminal.table("probe", COLUMNS, rows)


def _measured(attended: Attended) -> list[Mapping[str, Any]]:
    from drkit.health.measures.default_limits import METRICS
    from drkit.operations.alerts.measures import measure_values

    return [
        measure_values(name, attended.measures[name], METRICS[name])
        for name in METRICS
        if name in attended.measures and name not in _OF_THE_STATE
    ]


def _show_measures(session: Session, measured: Sequence[Mapping[str, Any]]) -> None:
    """People see the numbers that there are; with -v also why the others are missing."""
    shown = measured
    if not session.json_lines and session.verbosity == 0:
        shown = [row for row in measured if row["shown"] is not None]
    if shown:
        session.terminal.table("measure", ("metric", "shown", "samples", "detail"), shown)
    if missing := [row["metric"] for row in measured if row not in shown]:
        session.terminal.say(f"not measured (-v says why): {', '.join(missing)}")
    session.terminal.say("")


def _tell_alerts(session: Session, attended: Attended) -> None:
    from drkit.events import Note
    from drkit.observers.interface import alert_json

    for alert in attended.changes:
        text = f"alert {alert.state}: {alert.name} ({alert.level}): {alert.text}"
        session.terminal.result("alert", alert_json(alert), text)
    for words in attended.untold:
        session.terminal.emit(Note("warning", "alerts", f"not told, and tried again: {words}"))


def show_standing_alerts(session: Session, app: App) -> None:
    """The alerts that stand now, a line each; nothing without one."""
    from drkit.wiring.around import alert_book

    if app.config.service is None:
        return
    for name, standing in alert_book(app, app.config.service.name).standing():
        since = f"{standing.raised_at:%Y-%m-%d %H:%M} UTC" if standing.raised_at else "?"
        values = {"alert": name, "level": standing.level, "since": since, "text": standing.text}
        words = f"ALERT {name} ({standing.level}) since {since}: {standing.text}"
        session.terminal.result("alert_standing", values, words)
