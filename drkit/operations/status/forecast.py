"""If the primary died now: when users are served again, by what, at what price, and what is lost.

Computed from what is configured and what the last drill measured; where nothing was measured the
budgets of the runbook stand in, and the forecast says so. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from drkit.config.places import Probe, Target
from drkit.io_policy import PROBE_COMPLETION
from drkit.operations.status.status import SourceStatus
from drkit.units import format_duration

# From DOWN to users on the external API: read the switch, write the intent, set it, read it back.
_HOLD_S = 5.0


@dataclass(frozen=True, slots=True)
class Detection:
    """From the death to DOWN, in seconds: as it goes on average for a server that is gone, and at
    most for one that hangs.
    """

    usual_s: float
    most_s: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What the last run that succeeded took until the service was proved, and what it cost."""

    run_id: str
    kind: str
    exec_s: float
    usd_per_hour: float | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Loss:
    """Restored from the best store; `lost_s` None: no store has it."""

    source: str
    lost_s: float | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """None where nothing can be promised; `why_not_held` and `why_not_here` say why.

    `users_s`: until users are on the external API. `gpu_s`: until an own GPU serves, from the
    death, an approval not counted. `measured`: where `gpu_s` comes from; None: from budgets.
    `lost`: of what lives there, the source that would lose most; None: nothing that has a limit
    does. `elsewhere`: the same of what lives on other sites.
    """

    site: str
    target: str | None
    detection: Detection | None
    users_s: float | None
    why_not_held: str
    gpu_s: float | None
    why_not_here: str
    measured: Measured | None
    asks: bool
    usd_per_hour: float | None
    lost: Loss | None
    elsewhere: Loss | None
    proved_s: float | None


def detection(probe: Probe, every_s: float | None) -> Detection | None:
    """How long it takes to be sure. None: nothing probes."""
    if every_s is None:
        return None
    hangs_s = min(probe.completion_timeout, PROBE_COMPLETION.total_s)
    rounds = probe.down_after - 1
    sure_s = max(probe.down_after_s, rounds * probe.suspect_every)
    most_s = max(probe.down_after_s, rounds * (probe.suspect_every + hangs_s)) + hangs_s
    return Detection(every_s / 2 + sure_s, every_s + most_s)


def forecast(
    *,
    site: str,
    probe: Probe,
    probe_every_s: float | None,
    why_not_held: str,
    target: str | None,
    place: Target | None,
    budget_s: float | None,
    measured: Measured | None,
    asks: bool,
    sources: Sequence[SourceStatus],
    lives_on: Mapping[str, str],
    proved_s: float | None,
) -> Forecast:
    """The forecast for `site`, failing over to `target`.

    `why_not_held`: what keeps the protective hold from acting; "" if nothing does. `budget_s`: the
    critical path of the runbook. `asks`: a person has to approve first. `lives_on`: each source's
    site.
    """
    seen = detection(probe, probe_every_s)
    held = seen is not None and not why_not_held
    takes_s = measured.exec_s if measured else budget_s
    price = measured.usd_per_hour if measured and measured.usd_per_hour else None
    if price is None and place is not None:
        price = max(candidate.max_usd_per_hour for candidate in place.candidates)
    there = [row for row in sources if lives_on.get(row.source) == site]
    here = seen is not None and takes_s is not None
    return Forecast(
        site=site,
        target=target,
        detection=seen,
        users_s=seen.usual_s + _HOLD_S if seen and held else None,
        why_not_held=why_not_held if seen else "nothing probes: schedule `probe`",
        gpu_s=seen.usual_s + takes_s if seen and takes_s is not None else None,
        why_not_here="" if here else "there is no target" if seen else "nothing probes",
        measured=measured,
        asks=asks,
        usd_per_hour=price,
        lost=_worst(there),
        elsewhere=_worst([row for row in sources if row not in there]),
        proved_s=proved_s,
    )


def _worst(sources: Sequence[SourceStatus]) -> Loss | None:
    """Of what has a limit: the source that would lose most, restored from its best store."""
    best: dict[str, float] = {}
    for row in sources:
        if row.limit_s is not None:
            lost_s = float("inf") if row.lost_s is None else row.lost_s
            best[row.source] = min(best.get(row.source, float("inf")), lost_s)
    if not best:
        return None
    name = max(best, key=lambda each: best[each])
    return Loss(name, None if best[name] == float("inf") else best[name])


def _loss_words(loss: Loss) -> str:
    if loss.lost_s is None:
        return f"ALL of {loss.source}"
    return f"at most {format_duration(loss.lost_s)} of memory ({loss.source})"


def forecast_words(said: Forecast, *, down: bool = False) -> str:
    """The forecast in one sentence. `down`: it has come true, and what became of users is said."""
    parts = []
    if down:
        pass
    elif said.users_s is not None:
        parts.append(f"users on the external API in ~{format_duration(round(said.users_s))}")
    else:
        parts.append(f"users are NOT held by themselves ({said.why_not_held})")
    if said.gpu_s is not None:
        price = f" at ${said.usd_per_hour:.2f}/h" if said.usd_per_hour is not None else ""
        basis = (
            f"measured by the {said.measured.kind} of {said.measured.at:%Y-%m-%d}"
            if said.measured
            else "by the runbook's budgets, for nothing was measured yet"
        )
        after = ", once a person has approved" if said.asks else ""
        gpu_s = said.gpu_s - said.detection.usual_s if down and said.detection else said.gpu_s
        parts.append(
            f"own GPU on {said.target} in ~{format_duration(round(gpu_s))}{price}{after} ({basis})"
        )
    else:
        parts.append(f"no own GPU ({said.why_not_here})")
    if said.lost is not None:
        parts.append(f"{_loss_words(said.lost)} lost")
    elif said.elsewhere is not None:
        parts.append(
            f"no memory lost, for it lives elsewhere ({_loss_words(said.elsewhere)} if that went)"
        )
    else:
        parts.append("no source has a limit of loss")
    proved = f"{format_duration(said.proved_s)} ago" if said.proved_s is not None else "never"
    when = f"with {said.site} DOWN" if down else f"if {said.site} died now"
    return f"{when}: {'; '.join(parts)}; last proven {proved}"
