"""Evidence as one page that needs nothing beside itself: no script, no font, no image."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from drkit.runs.evidence.values import Evidence, Segment, StepLine, Verdict
from drkit.runs.records import StepState
from drkit.units import format_bytes, format_duration

if TYPE_CHECKING:
    from markupsafe import Markup

_TEMPLATE = Path(__file__).with_name("page.html.j2")

_TICKS_S = (
    *(0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800),
)

_STATE_WORDS = {
    StepState.PENDING: "not reached",
    StepState.INTENT: "running",
    StepState.EFFECT_UNKNOWN: "no result",
    StepState.DONE: "done",
    StepState.FAILED: "failed",
    StepState.SKIPPED: "left out",
    StepState.UNDONE: "undone",
}

_TONES = {
    Verdict.PASSED: "good",
    Verdict.FAILED: "bad",
    Verdict.ROLLBACK_FAILED: "bad",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """A span on the timeline in percent of its width."""

    left: float
    width: float
    looks: str
    title: str


@dataclass(frozen=True, slots=True)
class Row:
    step: StepLine
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Axis:
    """What the timeline spans: `begin_s` is negative when it shows the time before the run."""

    begin_s: float
    end_s: float

    def at(self, seconds: float) -> float:
        return round(100 * (seconds - self.begin_s) / (self.end_s - self.begin_s), 3)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        """At most eight round times, in percent, with what they are."""
        length = self.end_s - self.begin_s
        tick_s = next((s for s in _TICKS_S if length / s <= 8), length / 4)
        count = int(self.end_s / tick_s)
        return tuple(
            (self.at(n * tick_s), _tick_words(n * tick_s, tick_s)) for n in range(count + 1)
        )


def evidence_html(evidence: Evidence) -> str:
    """The page, to be written as UTF-8. Every text in it is escaped, wherever it came from."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        duration=format_duration, bytes=format_bytes, when=_when, exact=_exact, usd=_usd, code=_code
    )
    axis = timeline_axis(evidence)
    scale_s = max(
        evidence.clocks.target_s,
        *(max(phase.spent_s, phase.budget_s or 0) for phase in evidence.phases),
        evidence.clocks.total_s or evidence.clocks.exec_s,
    )
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    page = template.render(
        e=evidence,
        tone=_TONES.get(evidence.verdict, "care"),
        axis=axis,
        rows=[_row(step, axis) for step in evidence.steps],
        gaps=[
            _bar(axis, g.begin_s, g.end_s, "gap", "drkit was not running") for g in evidence.gaps
        ],
        share=lambda seconds: round(100 * seconds / scale_s, 3),
        step_words=lambda step: _step_words(step, evidence),
    )
    # A file's name need not be text; what is none is shown by its number.
    return page.encode(errors="backslashreplace").decode()


def timeline_axis(evidence: Evidence) -> Axis:
    """From the run's beginning to its end; from the first failed probe on, if that was so shortly
    before the run that the run itself still fills the larger part.
    """
    length_s = max(evidence.length_s, 1.0)
    before_s = evidence.clocks.before_s or 0.0
    return Axis(-before_s if before_s <= 0.6 * length_s else 0.0, length_s)


def _row(step: StepLine, axis: Axis) -> Row:
    return Row(
        step=step,
        bars=(
            *(_segment_bar(axis, segment, "") for segment in step.segments),
            *(_segment_bar(axis, segment, "undo ") for segment in step.undo),
        ),
    )


def _segment_bar(axis: Axis, segment: Segment, prefix: str) -> Bar:
    state = segment.state.value.lower()
    words = _STATE_WORDS[segment.state]
    title = f"{format_duration(segment.end_s - segment.begin_s)}, {words}"
    if segment.attempt > 1:
        title += f", attempt {segment.attempt}"
    return _bar(axis, segment.begin_s, segment.end_s, prefix + state, title)


def _bar(axis: Axis, begin_s: float, end_s: float, looks: str, title: str) -> Bar:
    left = axis.at(begin_s)
    return Bar(left, round(axis.at(end_s) - left, 3), looks, title)


def _step_words(step: StepLine, evidence: Evidence) -> str:
    """How a step stands; a drill undoes everything at its end, which is no news."""
    if step.state is StepState.UNDONE and evidence.kind == "drill" and step.done_s is not None:
        return "done, then undone"
    return _STATE_WORDS[step.state]


def _tick_words(seconds: float, tick_s: float) -> str:
    if tick_s < 1:
        return f"{seconds:g} s"
    if tick_s < 60:
        return f"{seconds:.0f} s"
    if tick_s < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"


def _when(moment: datetime) -> str:
    """For reading: to the second, in UTC."""
    return f"{moment.astimezone(UTC):%d %b %Y, %H:%M:%S} UTC"


def _exact(moment: datetime) -> str:
    """As the journal has it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _code(words: str) -> Markup:
    """Escaped text, with what stands between backticks as code."""
    from markupsafe import Markup, escape

    code = Markup("<code>{}</code>")
    parts = words.split("`")
    return Markup("").join(
        code.format(part) if index % 2 else escape(part) for index, part in enumerate(parts)
    )


def _usd(amount: float) -> str:
    """Cents, or as many places as a small amount needs."""
    return f"${amount:.2f}" if amount >= 0.095 or amount == 0 else f"${amount:.4f}"
