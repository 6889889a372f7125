"""Which alerts stand, and who has yet to be told: kept so that a kill loses none.

One transaction judges the limits and puts each change into an outbox. From there it goes into the
audit log and to the observers, and is struck off when it has arrived. A kill in between may tell
it twice, under the same id, and never leaves it untold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from drkit.clock import Clock
from drkit.health.measures.limits import Change, Limit, Standing, judge_all
from drkit.health.measures.window import Measure
from drkit.observers.interface import Alert, Observer, alert_json
from drkit.observers.tell import tell
from drkit.state.audit import AuditLog
from drkit.state.database import Database, again_on_conflict

MOST_UNTOLD = 200
GIVEN_UP_AFTER = timedelta(hours=24)
_RANK = {"warning": 0, "critical": 1}


@dataclass(frozen=True, slots=True)
class Told:
    """One who is told, and the least level that is told to them."""

    observer: Observer
    least: str


@dataclass(frozen=True, slots=True)
class _Letter:
    """An alert on its way. `untold`: names of observers that it has not arrived at."""

    alert: Alert
    audited: bool
    untold: tuple[str, ...]


class AlertBook:
    """The alerts of one service."""

    def __init__(
        self, database: Database, service: str, clock: Clock, *, host: str, sandbox: bool
    ) -> None:
        self._database = database
        self._service = service
        self._clock = clock
        self._host = host
        self._sandbox = sandbox

    @again_on_conflict
    def judge(
        self,
        limits: Sequence[Limit],
        measures: Mapping[str, Measure],
        told: Sequence[Told],
        *,
        words: Mapping[str, str] | None = None,
    ) -> tuple[Alert, ...]:
        """What was raised and cleared now; each is in the outbox before this returns.

        `words`: by metric, what an alert that is raised says in place of the numbers.
        """
        now, now_s = self._clock.now(), self._clock.elapsed_s()
        with self._database.exchange(self._name) as kept:
            standings = _standings(_part(kept.value, "standings"))
            if _part(kept.value, "host") != self._host:  # timed on another machine's clock
                standings = {
                    name: replace(each, turning_s=None, measured_s=now_s)
                    for name, each in standings.items()
                }
            after, changes = judge_all(limits, standings, measures, now_s, now)
            alerts = tuple(self._alert(change, now, words or {}) for change in changes)
            for alert in alerts:
                if alert.state == "raised":
                    after[alert.name] = replace(after[alert.name], text=alert.text)
            letters = [
                *_letters(_part(kept.value, "outbox")),
                *(_Letter(alert, False, _for(alert, told)) for alert in alerts),
            ]
            kept.value = {
                "host": self._host,
                "standings": {name: _standing_json(each) for name, each in after.items()},
                "outbox": [_letter_json(each) for each in letters[-MOST_UNTOLD:]],
            }
        return alerts

    def deliver(self, told: Sequence[Told]) -> tuple[str, ...]:
        """Into the audit log and to the observers; what could not be told, in words. It stays in
        the outbox for the next time, and for a day at most.
        """
        letters = self._letters()
        if not letters:
            return ()
        log = AuditLog(self._database, self._clock)
        for letter in letters:
            if not letter.audited:
                alert = letter.alert
                detail = {**alert_json(alert)}
                log.append(f"alert {alert.state}", f"{self._service}: {alert.name}", detail)
                self._struck(alert.id, audited=True)
        arrived = []
        round_ = [
            (each.observer, [x.alert for x in letters if each.observer.name in x.untold])
            for each in told
        ]
        failures: dict[str, str] = {}
        for (name, alert_id), failure in tell([each for each in round_ if each[1]]).items():
            if failure is None:
                arrived.append((alert_id, name))
            else:
                failures[name] = failure
        given_up = self._gone({each.observer.name for each in told})
        for alert_id, name in arrived:
            self._struck(alert_id, observer=name)
        return (*failures.values(), *given_up)

    def standing(self) -> tuple[tuple[str, Standing], ...]:
        """The alerts that stand now, by limit, oldest first."""
        kept = self._database.recall(self._name)
        standings = _standings(kept.get("standings") if isinstance(kept, dict) else None)
        raised = [each for each in standings.items() if each[1].raised]
        return tuple(sorted(raised, key=lambda each: str(each[1].raised_at)))

    def _letters(self) -> list[_Letter]:
        return _letters(_part(self._database.recall(self._name), "outbox"))

    @again_on_conflict
    def _struck(self, alert_id: str, *, audited: bool = False, observer: str = "") -> None:
        with self._database.exchange(self._name) as kept:
            left = []
            for letter in _letters(_part(kept.value, "outbox")):
                if letter.alert.id == alert_id:
                    untold = tuple(name for name in letter.untold if name != observer)
                    letter = replace(letter, audited=letter.audited or audited, untold=untold)
                if letter.untold or not letter.audited:
                    left.append(letter)
            kept.value = {**kept.value, "outbox": [_letter_json(each) for each in left]}

    @again_on_conflict
    def _gone(self, known: set[str]) -> tuple[str, ...]:
        """Strikes off observers that are no longer configured, and what is a day old."""
        oldest, words = self._clock.now() - GIVEN_UP_AFTER, []
        with self._database.exchange(self._name) as kept:
            if not isinstance(kept.value, dict):
                return ()
            left = []
            for letter in _letters(_part(kept.value, "outbox")):
                untold = tuple(name for name in letter.untold if name in known)
                if untold and letter.alert.at < oldest:
                    words.append(f"{letter.alert.name} was never told to {', '.join(untold)}")
                    untold = ()
                if untold or not letter.audited:
                    left.append(replace(letter, untold=untold))
            kept.value = {**kept.value, "outbox": [_letter_json(each) for each in left]}
        return tuple(words)

    def _alert(self, change: Change, now: datetime, words: Mapping[str, str]) -> Alert:
        state = "raised" if change.raised else "cleared"
        metric = change.limit.metric
        plain = words.get(metric) if change.raised else "it is over" if metric in words else None
        return Alert(
            id=f"{self._service}-{change.limit.name}-{state}-{now:%Y%m%dt%H%M%S%f}",
            service=self._service,
            name=change.limit.name,
            level=change.limit.level,
            state="raised" if change.raised else "cleared",
            text=plain or change.text,
            metric=metric,
            value=change.value,
            limit=change.limit.raise_at,
            at=now,
            host=self._host,
            sandbox=self._sandbox,
        )

    @property
    def _name(self) -> str:
        return f"alerts/{self._service}"


def _for(alert: Alert, told: Sequence[Told]) -> tuple[str, ...]:
    return tuple(
        each.observer.name for each in told if _RANK[alert.level] >= _RANK.get(each.least, 0)
    )


def _part(kept: Any, name: str) -> Any:
    return kept.get(name) if isinstance(kept, dict) else None


def _standing_json(standing: Standing) -> dict[str, Any]:
    at = standing.raised_at
    return {**asdict(standing), "raised_at": at.isoformat() if at else None}


def _standings(kept: Any) -> dict[str, Standing]:
    found = {}
    for name, value in kept.items() if isinstance(kept, dict) else ():
        try:
            at = value["raised_at"]
            found[str(name)] = Standing(
                bool(value["raised"]),
                value["turning_s"],
                value["measured_s"],
                datetime.fromisoformat(at) if at else None,
                value["value"],
                str(value["text"]),
                str(value["level"]),
            )
        except (KeyError, TypeError, ValueError):
            continue  # learnt anew
    return found


def _letter_json(letter: _Letter) -> dict[str, Any]:
    return {
        "alert": dict(alert_json(letter.alert)),
        "audited": letter.audited,
        "untold": list(letter.untold),
    }


def _letters(kept: Any) -> list[_Letter]:
    found = []
    for value in kept if isinstance(kept, list) else ():
        try:
            alert = dict(value["alert"])
            alert.pop("drkit")
            alert["name"] = alert.pop("alert")
            alert["at"] = datetime.fromisoformat(alert["at"])
            untold = tuple(str(name) for name in value["untold"])
            found.append(_Letter(Alert(**alert), bool(value["audited"]), untold))
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
    return found
