"""What a watch keeps of its rounds, bounded: the last scrapes, and how often the service answered.

As JSON under two names of its `Memory`. What cannot be read is as none, and is learnt anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from drkit.health.measures.window import Measure, NotMeasured, Value
from drkit.health.scrape import Histogram, Scrape
from drkit.health.table import Signal

MOST_SCRAPES = 40
_OLDEST_S = 3600.0
_HOURS, _DAYS = 48, 32
_DIGITS = 6


def with_scrape(kept: Any, scrape: Scrape | None, now_s: float) -> list[Any]:
    """`kept` as JSON with `scrape` at its end; the oldest go."""
    rows = [_plain(each) for each in scrapes_from(kept, now_s)]
    if scrape is not None:
        rows.append(_plain(scrape))
    return rows[-MOST_SCRAPES:]


def scrapes_from(kept: Any, now_s: float) -> tuple[Scrape, ...]:
    """The scrapes in `kept`, oldest first; those from before a reboot of this machine are gone."""
    found = []
    for each in kept if isinstance(kept, list) else []:
        try:
            scrape = _scrape(each)
        except (KeyError, TypeError, ValueError):
            continue
        if 0 <= now_s - scrape.elapsed_s <= _OLDEST_S:
            found.append(scrape)
    return tuple(sorted(found, key=lambda each: each.elapsed_s))


@dataclass(frozen=True, slots=True)
class Tally:
    """Rounds of one hour or day, by the hour or day's name: those that were well, and all."""

    at: str
    well: int
    all: int


def with_round(kept: Any, signal: Signal, now: datetime) -> dict[str, Any]:
    """`kept` as JSON with one more round. One that saw nothing says nothing about the service."""
    hours, days = _tallies(kept, "hours"), _tallies(kept, "days")
    if signal is not Signal.BLIND:
        well = signal is not Signal.BAD
        hours = _counted(hours, f"{now:%Y-%m-%dT%H}", well, _HOURS)
        days = _counted(days, f"{now:%Y-%m-%d}", well, _DAYS)
    return {"hours": [asdict(each) for each in hours], "days": [asdict(each) for each in days]}


def availability(kept: Any, now: datetime, *, hours: int) -> Measure:
    """The share of the rounds of the last `hours` that were well, 0 to 1, by whole hours, or by
    whole days beyond 48 hours.
    """
    if hours <= _HOURS:
        names = {f"{now - timedelta(hours=n):%Y-%m-%dT%H}" for n in range(hours)}
        rows = [each for each in _tallies(kept, "hours") if each.at in names]
    else:
        names = {f"{now - timedelta(days=n):%Y-%m-%d}" for n in range(-(-hours // 24))}
        rows = [each for each in _tallies(kept, "days") if each.at in names]
    rounds = sum(each.all for each in rows)
    if not rounds:
        return NotMeasured("there was no round")
    return Value(sum(each.well for each in rows) / rounds, rounds)


def _counted(rows: Sequence[Tally], at: str, well: bool, most: int) -> list[Tally]:
    if rows and rows[-1].at == at:
        last = rows[-1]
        return [*rows[:-1], replace(last, well=last.well + well, all=last.all + 1)]
    return [*rows, Tally(at, int(well), 1)][-most:]


def _tallies(kept: Any, part: str) -> list[Tally]:
    try:
        return [Tally(str(e["at"]), int(e["well"]), int(e["all"])) for e in kept[part]]
    except (KeyError, TypeError, ValueError):
        return []


def _plain(scrape: Scrape) -> dict[str, Any]:
    return {
        "elapsed_s": round(scrape.elapsed_s, 3),
        "dialect": scrape.dialect,
        "started": scrape.started,
        "steps": dict(scrape.steps),
        "gauges": {name: round(value, _DIGITS) for name, value in scrape.gauges.items()},
        "counters": dict(scrape.counters),
        "histograms": {
            name: {
                "bounds": list(each.bounds[:-1]),  # the last one is infinite, which JSON lacks
                "counts": list(each.counts),
                "total_s": round(each.total_s, _DIGITS),
            }
            for name, each in scrape.histograms.items()
        },
    }


def _scrape(value: Any) -> Scrape:
    started = value["started"]
    return Scrape(
        float(value["elapsed_s"]),
        str(value["dialect"]),
        None if started is None else float(started),
        _numbers(value["steps"]),
        _numbers(value["gauges"]),
        _numbers(value["counters"]),
        {str(name): _histogram(each) for name, each in value["histograms"].items()},
    )


def _histogram(value: Any) -> Histogram:
    bounds = (*map(float, value["bounds"]), math.inf)
    counts = tuple(map(float, value["counts"]))
    if len(bounds) != len(counts):
        raise ValueError("a histogram has a count for each bound")
    return Histogram(bounds, counts, float(value["total_s"]))


def _numbers(value: Any) -> dict[str, float]:
    return {str(name): float(number) for name, number in value.items()}
