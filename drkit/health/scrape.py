"""One reading of a server's metrics, by our names for them. Nothing in the text is trusted.

Source: Prometheus' text format 0.0.4. What is not there is not in the result, and never 0 (H4).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from drkit.health.dialects import DIALECTS, STARTED, Dialect, Picks, spoken

_MOST_LINES = 50_000
_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?[ \t]+(\S+)(?:[ \t]+-?\d+)?[ \t]*")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')

Labels = Mapping[str, str]
Families = dict[str, list[tuple[Labels, float]]]


@dataclass(frozen=True, slots=True)
class Histogram:
    """Cumulative counts by upper bound, the last one infinite; `total_s` is the sum of values."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    total_s: float


@dataclass(frozen=True, slots=True)
class Scrape:
    """`elapsed_s`: when, on the reader's own clock. `started`: of the server's process, by its
    own wall clock. `steps`: its step counters, by its own names for them.
    """

    elapsed_s: float
    dialect: str
    started: float | None
    steps: Mapping[str, float] = field(default_factory=dict)
    gauges: Mapping[str, float] = field(default_factory=dict)
    counters: Mapping[str, float] = field(default_factory=dict)
    histograms: Mapping[str, Histogram] = field(default_factory=dict)


def families(text: str) -> Families:
    """The samples by name; lines that are none, and values that are no numbers, are left out."""
    found: Families = {}
    for number, line in enumerate(text.splitlines()):
        if number >= _MOST_LINES:
            break
        if not line or line.startswith("#"):
            continue
        match = _SAMPLE.fullmatch(line)
        if match is None:
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        if math.isfinite(value):
            labels = dict(_LABEL.findall(match[2])) if match[2] else {}
            found.setdefault(match[1], []).append((labels, value))
    return found


def read_scrape(text: str, elapsed_s: float, *, dialect: str | None = None) -> Scrape | None:
    """The measurements in `text`, in the named dialect or the one it shows; None for no dialect."""
    found = families(text)
    spoken_here = DIALECTS.get(dialect) if dialect else spoken(set(found))
    if spoken_here is None:
        return None
    started = found.get(STARTED)
    return Scrape(
        elapsed_s,
        spoken_here.name,
        started[0][1] if started else None,
        steps={name: _total(found[name]) for name in spoken_here.steps if name in found},
        gauges=_gauges(spoken_here, found),
        counters=_summed(spoken_here.counters, found),
        histograms=_histograms(spoken_here, found),
    )


def moved(before: Scrape | None, after: Scrape | None) -> str | None:
    """The name of a step counter that rose between the two; None if none did or can be compared."""
    if before is None or after is None:
        return None
    for name, count in before.steps.items():
        if after.steps.get(name, 0.0) > count:
            return name
    return None


def _total(samples: Iterable[tuple[Labels, float]]) -> float:
    return sum(value for _, value in samples)


def _gauges(dialect: Dialect, found: Families) -> dict[str, float]:
    gauges = _summed(dialect.gauges, found)
    for pick in dialect.gauges.get("kv_cache", ()):
        if pick.name in found:
            gauges["kv_cache"] = max(value for _, value in found[pick.name])
            break
    return gauges


def _summed(picks: Mapping[str, Picks], found: Families) -> dict[str, float]:
    """A family that is shown without a series of the kind asked for has counted none of it."""
    sums = {}
    for quantity, choices in picks.items():
        for pick in choices:
            if pick.name in found:
                sums[quantity] = _total(
                    (labels, value)
                    for labels, value in found[pick.name]
                    if all(labels.get(k, "").startswith(v) for k, v in pick.where.items())
                )
                break
    return sums


def _histograms(dialect: Dialect, found: Families) -> dict[str, Histogram]:
    read = {}
    for quantity, names in dialect.histograms.items():
        for name in names:
            histogram = _histogram(found.get(f"{name}_bucket", ()), found.get(f"{name}_sum", ()))
            if histogram is not None:
                read[quantity] = histogram
                break
    return read


def _histogram(
    buckets: Sequence[tuple[Labels, float]], sums: Sequence[tuple[Labels, float]]
) -> Histogram | None:
    """Summed over engines; None where the buckets do not make one."""
    by_bound: dict[float, float] = {}
    for labels, count in buckets:
        try:
            bound = float(labels["le"])
        except (KeyError, ValueError):
            return None
        by_bound[bound] = by_bound.get(bound, 0.0) + count
    bounds = tuple(sorted(by_bound))
    counts = tuple(by_bound[bound] for bound in bounds)
    whole = bounds and math.isinf(bounds[-1]) and not any(map(math.isnan, bounds))
    if not whole or any(later < former for former, later in pairwise(counts)):
        return None
    return Histogram(bounds, counts, _total(sums))
