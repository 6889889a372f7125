"""How long the budgets say that it takes: when each step begins and ends, and the longest way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


class Timed(Protocol):
    """What of a step counts here; `Step` and `PlannedStep` both have it."""

    @property
    def id(self) -> str: ...
    @property
    def phase(self) -> str: ...
    @property
    def needs(self) -> tuple[str, ...]: ...
    @property
    def budget_min(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Span:
    """When a step begins and ends if every step takes its budget, in minutes."""

    begin_min: float
    end_min: float


@dataclass(frozen=True, slots=True)
class CriticalPath:
    """The longest way to the end of the four phases, which is when the recovery's clock stops.

    `steps` in their order; `spans` of every step, also of those after it, such as `observe`.
    """

    steps: tuple[str, ...]
    minutes: float
    spans: Mapping[str, Span]

    def slack_min(self, rto_min: float) -> float:
        """Minutes to spare; below 0 where the budgets alone are over the objective."""
        return rto_min - self.minutes


def critical_path(steps: Sequence[Timed], *, skipped: frozenset[str] = frozenset()) -> CriticalPath:
    """Pure. A step without a budget, and one that is skipped, takes no time. The steps must be free
    of cycles, as a `Runbook` is.
    """
    by_id = {step.id: step for step in steps}
    spans: dict[str, Span] = {}
    for step in _in_order(steps):
        begin = max((spans[need].end_min for need in step.needs if need in spans), default=0.0)
        takes = 0.0 if step.id in skipped else step.budget_min or 0.0
        spans[step.id] = Span(begin, begin + takes)
    counted = [step for step in steps if step.phase != "other" and step.id not in skipped]
    if not counted:
        return CriticalPath((), 0.0, spans)
    last = max(counted, key=lambda step: spans[step.id].end_min)
    path = [last.id]
    while needs := [need for need in by_id[path[-1]].needs if need in spans]:
        path.append(max(needs, key=lambda need: spans[need].end_min))
    kept = tuple(each for each in reversed(path) if each not in skipped)
    return CriticalPath(kept, spans[last.id].end_min, spans)


def _in_order(steps: Sequence[Timed]) -> list[Timed]:
    """The steps so that each comes after those it needs; needs that are no step are left out."""
    known = {step.id for step in steps}
    done: set[str] = set()
    ordered: list[Timed] = []
    while len(ordered) < len(steps):
        free = [
            step
            for step in steps
            if step.id not in done and all(need in done or need not in known for need in step.needs)
        ]
        if not free:
            raise ValueError("the steps wait for one another")
        ordered += free
        done |= {step.id for step in free}
    return ordered


_MOST_COLUMNS = 48


def draw(steps: Sequence[Timed], path: CriticalPath) -> list[str]:
    """One line a step: a bar from where it begins to where it ends, `=` on the longest way, and
    what it waits for.
    """
    longest = max((span.end_min for span in path.spans.values()), default=0.0)
    per_column = max(longest / _MOST_COLUMNS, 0.05)
    width = max((len(step.id) for step in steps), default=0)
    columns = round(longest / per_column)
    lines = []
    for step in steps:
        span = path.spans[step.id]
        begin, end = round(span.begin_min / per_column), round(span.end_min / per_column)
        sign = "=" if step.id in path.steps else "-"
        bar = " " * begin + (sign * max(1, end - begin) if end > begin else "|")
        takes = f"{step.budget_min:g}" if step.budget_min else "-"
        waits = f"after {', '.join(step.needs)}" if step.needs else "at once"
        lines.append(
            f"{step.id:{width}}  {step.phase:7} {takes:>5} min  {bar:{columns + 1}}  {waits}"
        )
    return lines
