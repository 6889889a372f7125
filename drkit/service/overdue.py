"""When a job first runs after the daemon was away: at once if its time went by meanwhile. Pure.

Backups are judged by the points in the stores, whoever made them; the others by when the daemon
last saw them end. A drill is never caught up: it costs money, and is told instead.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from drkit.config.cron import CronLine
from drkit.service.jobs import PlannedJob
from drkit.units import format_duration

NextTime = Callable[[CronLine, datetime], datetime | None]
"""The first time of a cron line after a moment."""

ReadCuts = Callable[[Callable[[], bool]], Mapping[str, datetime | None] | None]
"""Given whether the daemon stops: the newest cut of each source, or None if nobody said."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known at the start. `cuts`: the newest cut of each source, or None if there is none
    in any store; `cuts` itself is None when the stores did not say. `ended`: jobs, by name.
    """

    cuts: Mapping[str, datetime | None] | None = None
    ended: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class First:
    """`at` None: at its own next time. `why` is what to tell, or nothing."""

    at: datetime | None
    why: str = ""


def first_time(
    job: PlannedJob,
    known: Known,
    rpo_s: Mapping[str, float | None],
    now: datetime,
    next_time: NextTime,
) -> First:
    """When `job` runs first. `rpo_s` names every source, with its limit if it has one."""
    last = known.ended.get(job.name)
    if job.run == "backup" and known.cuts is not None:
        cuts = {name: known.cuts.get(name) for name in job.sources or rpo_s}
        if never := [name for name, cut_at in cuts.items() if cut_at is None]:
            return First(now, f"there is no point of {', '.join(never)} yet: it runs at once")
        times = {name: cut_at for name, cut_at in cuts.items() if cut_at is not None}
        for name, cut_at in times.items():
            age_s, limit_s = (now - cut_at).total_seconds(), rpo_s.get(name)
            if limit_s is not None and age_s > limit_s:
                return First(
                    now,
                    f"{name} was last kept {format_duration(age_s)} ago, "
                    f"and at most {format_duration(limit_s)} may be lost: it runs at once",
                )
        last = min(times.values(), default=None)
    if job.every_s is not None:
        due = last + timedelta(seconds=job.every_s) if last else now
        return First(min(max(due, now), now + timedelta(seconds=job.every_s)))
    assert job.cron is not None
    if last is None:
        # A backup of which nothing is known may be overdue; another cron job waits for its time.
        return First(now if job.run == "backup" else None)
    missed = next_time(job.cron, last)
    if missed is None or missed > now:
        return First(None)
    words = f"its time at {missed:%Y-%m-%d %H:%M} UTC went by"
    if job.run == "run-drill":
        command = " ".join(("drkit", *job.arguments))
        return First(None, f"{words}; a drill is not caught up by itself: {command}")
    return First(now, f"{words}: it runs at once")


def cuts_of(status_lines: Iterable[str], now: datetime) -> dict[str, datetime | None]:
    """The newest cut of each source over all stores, as `drkit status --json` printed it.

    Lines that are none of its rows are passed over; no source at all means that it did not answer.
    """
    cuts: dict[str, datetime | None] = {}
    for line in status_lines:
        try:
            row = json.loads(line)
            name, lost_s = str(row["source"]), row["lost_s"]
            cut_at = now - timedelta(seconds=float(lost_s)) if lost_s is not None else None
        except (ValueError, KeyError, TypeError, OverflowError):
            continue
        known = cuts.get(name)
        cuts[name] = max(cut_at, known) if cut_at and known else cut_at or known
    return cuts
