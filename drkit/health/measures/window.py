"""From a row of scrapes to numbers about a window of time. Pure.

Only what a counter did between two scrapes of the same process counts: an interval in which it
was started again, or in which any of its counters fell, is left out. Quantiles are interpolated
within a bucket, as PromQL's histogram_quantile does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from drkit.health.scrape import Histogram, Scrape

_SAME_START_S = 1.0


@dataclass(frozen=True, slots=True)
class Value:
    """A measured number, and how many samples it stands on. `at_least`: it may be more."""

    value: float
    samples: int
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class NotMeasured:
    """There is no number, and it is not 0 (H4)."""

    why: str


Measure = Value | NotMeasured


def within(scrapes: Sequence[Scrape], now_s: float, window_s: float) -> tuple[Scrape, ...]:
    """Those of the last `window_s` seconds, oldest first."""
    return tuple(each for each in scrapes if 0 <= now_s - each.elapsed_s <= window_s)


def intervals(scrapes: Sequence[Scrape]) -> Iterator[tuple[Scrape, Scrape]]:
    """Each pair of neighbours of one and the same process."""
    for before, after in pairwise(scrapes):
        if after.elapsed_s > before.elapsed_s and not _restarted(before, after):
            yield before, after


def _restarted(before: Scrape, after: Scrape) -> bool:
    if before.dialect != after.dialect or (before.started is None) != (after.started is None):
        return True
    if abs((after.started or 0.0) - (before.started or 0.0)) > _SAME_START_S:
        return True
    counts = ((before.counters, after.counters), (before.steps, after.steps))
    fell = any(
        then.get(name, 0.0) < count for first, then in counts for name, count in first.items()
    )
    return fell or any(
        name in after.histograms and after.histograms[name].counts[-1] < histogram.counts[-1]
        for name, histogram in before.histograms.items()
    )


def rate(scrapes: Sequence[Scrape], counter: str) -> Measure:
    """Per second."""
    grown = seconds = 0.0
    samples = 0
    for before, after in intervals(scrapes):
        if counter in before.counters and counter in after.counters:
            grown += after.counters[counter] - before.counters[counter]
            seconds += after.elapsed_s - before.elapsed_s
            samples += 1
    return Value(grown / seconds, samples) if seconds else NotMeasured(_two_of(counter))


def share(scrapes: Sequence[Scrape], part: str, whole: str) -> Measure:
    """How much of `whole` was `part`, 0 to 1; its samples are those of the whole."""
    parts = wholes = 0.0
    measured = False
    for before, after in intervals(scrapes):
        if all(name in each.counters for name in (part, whole) for each in (before, after)):
            parts += after.counters[part] - before.counters[part]
            wholes += after.counters[whole] - before.counters[whole]
            measured = True
    if not measured:
        return NotMeasured(_two_of(f"{part} and {whole}"))
    if wholes <= 0:
        return NotMeasured(f"there were no {whole}")
    return Value(parts / wholes, int(wholes))


def newest(scrapes: Sequence[Scrape], gauge: str) -> Measure:
    """Its last value, with as many samples as scrapes of the window show it."""
    shown = [each.gauges[gauge] for each in scrapes if gauge in each.gauges]
    return Value(shown[-1], len(shown)) if shown else NotMeasured(f"no {gauge} is shown")


def quantile(scrapes: Sequence[Scrape], name: str, q: float) -> Measure:
    """Seconds below which `q` (0 to 1) of what was measured in the window lies."""
    grown = _grown(scrapes, name)
    if grown is None:
        return NotMeasured(_two_of(name))
    bounds, counts = grown.bounds, grown.counts
    if counts[-1] <= 0:
        return NotMeasured(f"nothing was measured of {name}")
    samples, wanted = int(counts[-1]), q * counts[-1]
    index = next(i for i, count in enumerate(counts) if count >= wanted)
    if math.isinf(bounds[index]):
        last = bounds[index - 1] if index else 0.0
        return Value(last, samples, at_least=True)
    low, below = (bounds[index - 1], counts[index - 1]) if index else (0.0, 0.0)
    inside = counts[index] - below
    part = (wanted - below) / inside if inside else 1.0
    return Value(low + (bounds[index] - low) * part, samples)


def _grown(scrapes: Sequence[Scrape], name: str) -> Histogram | None:
    """What the histogram gained over all intervals in which its buckets were the same."""
    bounds: tuple[float, ...] = ()
    counts: list[float] = []
    total_s = 0.0
    for before, after in intervals(scrapes):
        first, then = before.histograms.get(name), after.histograms.get(name)
        if first is None or then is None or first.bounds != then.bounds:
            continue
        if bounds != then.bounds:  # configured anew: what the new buckets say is newer
            bounds, counts, total_s = then.bounds, [0.0] * len(then.bounds), 0.0
        gained = [b - a for a, b in zip(first.counts, then.counts, strict=True)]
        counts = [sum(pair) for pair in zip(counts, gained, strict=True)]
        total_s += then.total_s - first.total_s
    if not bounds:
        return None
    rising = [max(counts[: index + 1]) for index in range(len(counts))]
    return Histogram(bounds, tuple(max(0.0, count) for count in rising), total_s)


def stalled_s(scrapes: Sequence[Scrape]) -> Measure:
    """Seconds for which work was there and no engine step was made; 0 while it steps or idles."""
    if not scrapes or not scrapes[-1].steps:
        return NotMeasured("no step counter is shown")
    last, samples = scrapes[-1], 1
    began_s = last.elapsed_s
    for before, after in reversed(list(pairwise(scrapes))):
        if _restarted(before, after) or before.steps != after.steps or not _at_work(after):
            break
        if not _at_work(before):
            break
        began_s, samples = before.elapsed_s, samples + 1
    return Value(last.elapsed_s - began_s, samples)


def _at_work(scrape: Scrape) -> bool:
    return scrape.gauges.get("running", 0.0) > 0 or scrape.gauges.get("waiting", 0.0) > 0


def _two_of(name: str) -> str:
    return f"no two scrapes of one process show {name}"
