"""An outage is told once, then at intervals, and when it is over: a log is read, or it is not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from drkit.units import format_duration

AGAIN_AFTER_S = 3600.0
_VARIES = re.compile(r"\d+")


@dataclass(slots=True)
class _Failing:
    words: str
    since_s: float
    told_s: float
    times: int = 1


class Repeats:
    """What each job failed with last. Words that differ in numbers alone are the same."""

    def __init__(self, *, again_after_s: float = AGAIN_AFTER_S) -> None:
        self._again_after_s = again_after_s
        self._failing: dict[str, _Failing] = {}

    def failed(self, job: str, words: Sequence[str], now_s: float) -> str | None:
        """None: it is not told again yet. Else what to say before it, mostly nothing."""
        said = _VARIES.sub("#", "\n".join(words))
        failing = self._failing.get(job)
        if failing is None or failing.words != said:
            since_s = now_s if failing is None else failing.since_s
            times = 1 if failing is None else failing.times + 1
            self._failing[job] = _Failing(said, since_s, now_s, times)
            return ""
        failing.times += 1
        if now_s - failing.told_s < self._again_after_s:
            return None
        failing.told_s = now_s
        return f"still so, for {format_duration(now_s - failing.since_s)}, {failing.times} times: "

    def well(self, job: str, now_s: float) -> str:
        """What to say of a job that did its work, if it did not before; else nothing."""
        failing = self._failing.pop(job, None)
        if failing is None or failing.times == 1:
            return ""
        spent = format_duration(now_s - failing.since_s)
        return f"well again, after {failing.times} times in {spent}; "
