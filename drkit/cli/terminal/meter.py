"""Rate and time left of a task, from its progress; pure, time is an argument."""

from __future__ import annotations

from dataclasses import dataclass

from drkit.events import Progress
from drkit.units import format_bytes, format_duration

HALF_LIFE_S = 8.0
NOTHING = 1e-9


@dataclass(slots=True)
class Meter:
    """Follows one task. `rate_per_s` forgets: what was 8 s ago counts half."""

    last_s: float
    last_done: int
    weighted_done: float = 0.0
    weighted_s: float = 0.0

    def advance(self, progress: Progress, now_s: float) -> None:
        spent_s = max(0.0, now_s - self.last_s)
        fade = 0.5 ** (spent_s / HALF_LIFE_S)
        self.weighted_done = self.weighted_done * fade + max(0, progress.done - self.last_done)
        self.weighted_s = self.weighted_s * fade + spent_s
        self.last_s, self.last_done = now_s, progress.done

    @property
    def rate_per_s(self) -> float:
        return self.weighted_done / self.weighted_s if self.weighted_s > NOTHING else 0.0

    def eta_s(self, progress: Progress) -> float | None:
        """Seconds to go; None when the total or the rate is not known."""
        if progress.total is None or self.rate_per_s <= NOTHING:
            return None
        return max(0, progress.total - progress.done) / self.rate_per_s


def describe(progress: Progress, meter: Meter) -> str:
    """ "1.2 GiB of 3.4 GiB, 35 %, 120 MiB/s, 18 s left", as far as it is known."""
    amount = format_bytes if progress.unit == "bytes" else "{:,.0f}".format
    parts = [amount(progress.done)]
    if progress.total:
        parts[0] += f" of {amount(progress.total)}"
        parts.append(f"{100 * progress.done // progress.total} %")
    if progress.unit != "bytes":
        parts[0] += f" {progress.unit}"
    if progress.unit != "steps" and meter.rate_per_s > NOTHING:
        parts.append(f"{amount(meter.rate_per_s)}/s")
        eta_s = meter.eta_s(progress)
        if eta_s:
            parts.append(f"{format_duration(eta_s)} left")
    return ", ".join(parts)
