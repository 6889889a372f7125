"""Limits of what is measured: when each is passed, and when it is over. Pure; alerts only.

A limit is raised when its metric has stood beyond it for `lasting_s`, on at least `least_samples`
samples each time (H4), and cleared when it has stood within `clear_at` for as long. Nothing here
moves the service's table or its traffic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from drkit.health.measures.window import Measure, NotMeasured, Value

Level = Literal["warning", "critical"]

FORGOTTEN_AFTER_S = 1800.0
"""An alert whose metric was not measured for so long is over: nobody can say that it holds."""
_MOST_GAP_S = 600.0


@dataclass(frozen=True, slots=True)
class Limit:
    """`above` True: raised when the metric is more than `raise_at`; False: when it is less."""

    name: str
    metric: str
    above: bool
    raise_at: float
    clear_at: float
    lasting_s: float
    level: Level
    least_samples: int = 1
    unit: str = ""

    def beyond(self, value: Value) -> bool:
        if value.at_least and not self.above:
            return False
        return value.value > self.raise_at if self.above else value.value < self.raise_at

    def within(self, value: Value) -> bool:
        if value.at_least and self.above:
            return False
        return value.value <= self.clear_at if self.above else value.value >= self.clear_at


@dataclass(frozen=True, slots=True)
class Standing:
    """What is remembered of a limit. Times in seconds of `Clock.elapsed_s`.

    `turning_s`: since when the metric stands on the other side, without a break. `measured_s`:
    when it was measured last. `text` and `level`: of the alert that stands.
    """

    raised: bool = False
    turning_s: float | None = None
    measured_s: float | None = None
    raised_at: datetime | None = None
    value: float | None = None
    text: str = ""
    level: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """An alert that began (`raised`) or ended, and why, in words."""

    limit: Limit
    raised: bool
    text: str
    value: float | None


def judge(
    limit: Limit, standing: Standing, measure: Measure, now_s: float, now: datetime
) -> tuple[Standing, Change | None]:
    """Where the limit stands after one more measurement, and what changed.

    A metric that is not measured, or on too few samples, neither raises nor clears, and breaks the
    row of those that would.
    """
    standing = _awake(standing, now_s)
    if isinstance(measure, NotMeasured) or measure.samples < limit.least_samples:
        return _unmeasured(limit, standing, now_s)
    measured = replace(standing, measured_s=now_s, value=measure.value)
    turns = limit.within(measure) if standing.raised else limit.beyond(measure)
    if not turns:
        return replace(measured, turning_s=None), None
    since_s = now_s if measured.turning_s is None else measured.turning_s
    if now_s - since_s < limit.lasting_s:
        return replace(measured, turning_s=since_s), None
    change = Change(limit, not standing.raised, "", measure.value)
    change = replace(change, text=_words(limit, measure, change.raised))
    if not change.raised:
        return Standing(measured_s=now_s, value=measure.value), change
    told = replace(measured, text=change.text, level=limit.level)
    return replace(told, raised=True, turning_s=None, raised_at=now), change


def judge_all(
    limits: Iterable[Limit],
    standings: Mapping[str, Standing],
    measures: Mapping[str, Measure],
    now_s: float,
    now: datetime,
) -> tuple[dict[str, Standing], list[Change]]:
    """Every limit, judged; one whose limit is no longer configured is forgotten."""
    after, changes = {}, []
    absent = NotMeasured("it is not measured here")
    for limit in limits:
        measure = measures.get(limit.metric, absent)
        standing = standings.get(limit.name, Standing())
        after[limit.name], change = judge(limit, standing, measure, now_s, now)
        if change is not None:
            changes.append(change)
    return after, changes


def _awake(standing: Standing, now_s: float) -> Standing:
    """After a reboot or a long sleep of the watcher, a row of measurements begins anew."""
    last_s = standing.measured_s
    if last_s is None or 0 <= now_s - last_s <= _MOST_GAP_S:
        return standing
    if now_s < last_s:  # another boot: what was timed on its clock says nothing
        return replace(standing, turning_s=None, measured_s=now_s)
    return replace(standing, turning_s=None)


def _unmeasured(limit: Limit, standing: Standing, now_s: float) -> tuple[Standing, Change | None]:
    standing = replace(standing, turning_s=None)
    last_s = standing.measured_s
    if not standing.raised or last_s is None or now_s - last_s < FORGOTTEN_AFTER_S:
        return standing, None
    minutes = FORGOTTEN_AFTER_S / 60
    text = f"{limit.metric} was not measured for {minutes:g} min; the alert is dropped"
    return Standing(), Change(limit, False, text, None)


def _words(limit: Limit, value: Value, raised: bool) -> str:
    bound = limit.raise_at if raised else limit.clear_at
    side = "above" if limit.above == raised else "below"
    least = "at least " if value.at_least else ""
    count = f", {value.samples} samples" if limit.least_samples > 1 else ""
    lasting = f" for {limit.lasting_s:g} s" if limit.lasting_s else ""
    return (
        f"{limit.metric} is {least}{shown(value.value, limit.unit)}, {side} "
        f"{shown(bound, limit.unit)}{lasting}{count}"
    )


def shown(value: float, unit: str) -> str:
    """A number for people: shares as percent, seconds below one as milliseconds."""
    if unit == "share":
        return f"{value * 100:.3g} %"
    if unit == "s" and value:
        return f"{value * 1000:.0f} ms" if abs(value) < 1 else f"{value:.3g} s"
    return f"{value:.4g} {unit}".rstrip()
