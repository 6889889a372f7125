"""Which snapshots the keep-rules keep, and why: restic's rules with restic's answers. Pure.

Source: restic `internal/data/snapshot_policy.go`. A snapshot that any rule wants is kept. Periods
are those of the snapshot's own time zone; `within` counts from the newest snapshot that is not in
the future.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from drkit.errors import ConfigError
from drkit.repository.repository import ListedSnapshot

PINNED = "pinned"
UNLIMITED = -1
PERIODS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
_NEVER = datetime(1, 1, 1, tzinfo=UTC)
_SPAN = re.compile(r"(\d+)([ymdh])")


@dataclass(frozen=True, slots=True)
class Span:
    """Restic's duration "1y5m7d2h", where m are months."""

    years: int = 0
    months: int = 0
    days: int = 0
    hours: float = 0

    def before(self, moment: datetime) -> datetime:
        """`moment` minus this span. A day that the month does not have runs on into the next."""
        months = moment.year * 12 + moment.month - 1 - 12 * self.years - self.months
        first = moment.replace(year=months // 12, month=months % 12 + 1, day=1)
        return first + timedelta(days=moment.day - 1 - self.days, hours=-self.hours)

    def __bool__(self) -> bool:
        return bool(self.years or self.months or self.days or self.hours)

    def __str__(self) -> str:
        parts = ((self.years, "y"), (self.months, "m"), (self.days, "d"), (self.hours, "h"))
        return "".join(f"{number:g}{unit}" for number, unit in parts if number)


@dataclass(frozen=True, slots=True)
class KeepRules:
    """How many of each period (-1: all), which spans (by period; "" keeps all), which tag lists."""

    counts: Mapping[str, int] = field(default_factory=dict)
    within: Mapping[str, Span] = field(default_factory=dict)
    tags: tuple[tuple[str, ...], ...] = ()

    @property
    def empty(self) -> bool:
        return not (any(self.counts.values()) or any(self.within.values()) or self.tags)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One snapshot and why it is kept; it is removed when there is no reason."""

    listed: ListedSnapshot
    reasons: tuple[str, ...]


def read_span(text: str) -> Span:
    """The span of "1y5m7d2h". Raises `ConfigError`."""
    parts = _SPAN.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ConfigError(
            f"{text!r} is no duration",
            hint="write years, months, days and hours as 1y5m7d2h; m are months",
        )
    units = {"y": 0, "m": 0, "d": 0, "h": 0}
    for number, unit in parts:
        units[unit] = int(number)
    return Span(units["y"], units["m"], units["d"], units["h"])


def read_count(text: str) -> int:
    """The count of "7" or "unlimited". Raises `ConfigError`."""
    if text == "unlimited":
        return UNLIMITED
    if re.fullmatch(r"-1|\d+", text):
        return int(text)
    raise ConfigError(f"{text!r} is no count", hint="write a number, or unlimited")


def judge(
    snapshots: Sequence[ListedSnapshot], rules: KeepRules, now: datetime
) -> tuple[Verdict, ...]:
    """Every snapshot of one group with the reasons to keep it, newest first."""
    newest_first = sorted(snapshots, key=lambda listed: listed.order, reverse=True)
    past = [one.snapshot.local_time for one in newest_first if one.snapshot.time < now]
    latest = past[0] if past else _NEVER
    left = dict(rules.counts)
    seen: dict[tuple[str, str], int] = {}
    verdicts = []
    for number, listed in enumerate(newest_first):
        is_oldest = number == len(newest_first) - 1
        reasons = [
            f"has tags {','.join(wanted)}"
            for wanted in rules.tags
            if set(wanted) <= set(listed.snapshot.tags)
        ]
        if PINNED in listed.snapshot.tags:
            reasons.append(PINNED)
        local = listed.snapshot.local_time
        if (span := rules.within.get("")) and local > _start(span, latest):
            reasons.append(f"within {span}")
        for period in PERIODS:
            value = _BUCKETS[period](local, number)
            is_new = value != seen.get(("", period))
            if left.get(period, 0) and (is_new or is_oldest):
                seen["", period] = value
                left[period] -= left[period] > 0
                reasons.append(f"{'' if is_new else 'oldest '}{period} snapshot")
        for period in PERIODS[1:]:
            span = rules.within.get(period)
            if not span or local <= _start(span, latest):
                continue
            value = _BUCKETS[period](local, number)
            if value != seen.get(("within", period)) or is_oldest:
                seen["within", period] = value
                reasons.append(f"{period} within {span}")
        verdicts.append(Verdict(listed, tuple(reasons)))
    return tuple(verdicts)


def _start(span: Span, latest: datetime) -> datetime:
    try:
        return span.before(latest)
    except (ValueError, OverflowError):  # before the year 1: everything is within
        return _NEVER


def _week(moment: datetime) -> int:
    year, week, _ = moment.isocalendar()
    return year * 100 + week


_BUCKETS: Mapping[str, Callable[[datetime, int], int]] = {
    "last": lambda _moment, number: number,
    "hourly": lambda m, _: m.year * 1000000 + m.month * 10000 + m.day * 100 + m.hour,
    "daily": lambda m, _: m.year * 10000 + m.month * 100 + m.day,
    "weekly": lambda m, _: _week(m),
    "monthly": lambda m, _: m.year * 100 + m.month,
    "yearly": lambda m, _: m.year,
}
