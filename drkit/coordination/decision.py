"""Whether a service that is DOWN is failed over: a table over `(state, event, guard)`. Pure.

A decision opens when the service goes DOWN and ends in a run, or without one. Nothing that
blocks it is ever overlooked: blocks are derived anew from `Facts` at every event, and the run is
opened in one transaction that reads them again (R4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from drkit.config.decide import Decide


class DecisionState(Enum):
    OPEN = "OPEN"
    BLOCKED = "BLOCKED"
    OBSERVED = "OBSERVED"
    WAIT_APPROVAL = "WAIT_APPROVAL"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    WITHDRAWN = "WITHDRAWN"
    RUN = "RUN"

    @property
    def ended(self) -> bool:
        """Nothing more happens in it; a service that is still DOWN gets a new one."""
        return self in (
            DecisionState.REJECTED,
            DecisionState.EXPIRED,
            DecisionState.WITHDRAWN,
            DecisionState.RUN,
        )


class DecisionEvent(Enum):
    WEIGHED = "the facts were looked at"
    APPROVE = "an operator approved"
    REJECT = "an operator refused"
    RECOVERED = "the service is well again"
    STARTED = "its run was opened"


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a decision depends on, read at one moment. Ages and waits are in seconds.

    `answers`: the last round that saw anything was a good one. `seen_down` and `seeing`: vantage
    points that call it DOWN now, and that answered at all; this machine is one of them.
    `standby_proof_age_s`: None without a warm standby, or one that never passed; `standby_fails`:
    it did not pass when it was asked last. `asks_a_person`: why the runbook that would be carried
    out may not be by nobody's word.
    """

    down: bool
    ever_healthy: bool
    answers: bool
    blind: bool
    flapping: bool
    seen_down: int
    seeing: int
    leads: bool
    arbiter_reachable: bool
    paused: bool
    open_run: bool
    cooldown_left_s: float
    unattended_last_day: int
    unattended_last_week: int
    standby_proof_age_s: float | None
    fence_began: bool = False
    standby_fails: bool = False
    asks_a_person: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """`reasons`: what blocks it now. `asked_elapsed_s`: since when approval is awaited."""

    state: DecisionState = DecisionState.OPEN
    reasons: tuple[str, ...] = ()
    asked_elapsed_s: float | None = None
    by: str | None = None


def blocks(facts: Facts) -> tuple[str, ...]:
    """Why no run may be opened for this outage now, approved or not, in words."""
    return tuple(
        reason
        for holds, reason in (
            (not facts.down, "the service is not DOWN"),
            (not facts.ever_healthy, "it was never seen healthy (H3)"),
            (facts.answers, "it answers again; it is well after some more rounds"),
            (facts.blind, "this machine sees nothing beyond its own network (H3)"),
            (not facts.arbiter_reachable, "the arbiter cannot be reached (R1)"),
            (not facts.leads, "another drkit leads"),
            (facts.paused, "paused by an operator"),
            (facts.open_run, "a run is open already (R4)"),
        )
        if holds
    )


def unattended_blocks(facts: Facts, settings: Decide) -> tuple[str, ...]:
    """Why nobody's approval is not enough, in words: `status` shows it for mode auto."""
    standby_age_s = facts.standby_proof_age_s
    own = tuple(
        reason
        for holds, reason in (
            (settings.mode != "auto", f"mode is {settings.mode}"),
            (facts.seeing < 2, "fewer than two vantage points answer (H3)"),
            (facts.seen_down < 2, "no second vantage point sees it DOWN (H3)"),
            (facts.flapping, "it is flapping"),
            (standby_age_s is None, "there is no warm standby that was verified"),
            (facts.standby_fails, "the warm standby does not pass now"),
            (
                standby_age_s is not None and standby_age_s > settings.standby_proof,
                "the standby's last proof is too old",
            ),
            (facts.cooldown_left_s > 0, "a run ended a short while ago; drkit ack ends the wait"),
            (
                facts.unattended_last_day >= settings.most_per_day,
                "the limit of failovers in 24 hours is reached",
            ),
            (
                facts.unattended_last_week >= settings.most_per_week,
                "the limit of failovers in 7 days is reached",
            ),
        )
        if holds
    )
    return own + facts.asks_a_person


UNATTENDED = "auto"
"""Who approved a decision that nobody was asked about."""

Guard = Callable[[Decision, Facts, float, Decide], bool]


@dataclass(frozen=True, slots=True)
class Row:
    to: DecisionState
    guard: Guard


def blocked(_decision: Decision, facts: Facts, _now_s: float, _settings: Decide) -> bool:
    return bool(blocks(facts))


def free(_decision: Decision, facts: Facts, _now_s: float, _settings: Decide) -> bool:
    return not blocks(facts)


def only_watched(_decision: Decision, _facts: Facts, _now_s: float, settings: Decide) -> bool:
    return settings.mode == "observe"


def may_go_alone(_decision: Decision, facts: Facts, _now_s: float, settings: Decide) -> bool:
    return not unattended_blocks(facts, settings)


def no_longer_alone(decision: Decision, facts: Facts, _now_s: float, settings: Decide) -> bool:
    """Nobody approved it, and what let it go alone holds no more: it may have waited since."""
    return decision.by == UNATTENDED and bool(unattended_blocks(facts, settings))


def may_start(decision: Decision, facts: Facts, now_s: float, settings: Decide) -> bool:
    return not blocks(facts) and not no_longer_alone(decision, facts, now_s, settings)


def asked_too_long(decision: Decision, _facts: Facts, now_s: float, settings: Decide) -> bool:
    since_s = decision.asked_elapsed_s
    return since_s is not None and now_s - since_s > settings.approval_wait


def not_fenced(_decision: Decision, facts: Facts, _now_s: float, _settings: Decide) -> bool:
    return not facts.fence_began


def always(_decision: Decision, _facts: Facts, _now_s: float, _settings: Decide) -> bool:
    return True


_S, _E = DecisionState, DecisionEvent
_WEIGH = (
    Row(_S.BLOCKED, blocked),
    Row(_S.OBSERVED, only_watched),
    Row(_S.APPROVED, may_go_alone),
    Row(_S.WAIT_APPROVAL, always),
)

# The first row whose guard holds. What is not listed changes nothing; APPROVE then says why.
TABLE: Mapping[tuple[DecisionState, DecisionEvent], tuple[Row, ...]] = {
    (_S.OPEN, _E.WEIGHED): _WEIGH,
    (_S.OPEN, _E.RECOVERED): (Row(_S.WITHDRAWN, always),),
    (_S.BLOCKED, _E.WEIGHED): _WEIGH,
    (_S.BLOCKED, _E.REJECT): (Row(_S.REJECTED, always),),
    (_S.BLOCKED, _E.RECOVERED): (Row(_S.WITHDRAWN, always),),
    (_S.OBSERVED, _E.RECOVERED): (Row(_S.WITHDRAWN, always),),
    (_S.OBSERVED, _E.APPROVE): (Row(_S.APPROVED, free),),
    (_S.OBSERVED, _E.REJECT): (Row(_S.REJECTED, always),),
    (_S.WAIT_APPROVAL, _E.WEIGHED): (
        Row(_S.BLOCKED, blocked),
        Row(_S.EXPIRED, asked_too_long),
        Row(_S.APPROVED, may_go_alone),
    ),
    (_S.WAIT_APPROVAL, _E.APPROVE): (Row(_S.APPROVED, free),),
    (_S.WAIT_APPROVAL, _E.REJECT): (Row(_S.REJECTED, always),),
    (_S.WAIT_APPROVAL, _E.RECOVERED): (Row(_S.WITHDRAWN, always),),
    (_S.APPROVED, _E.WEIGHED): (
        Row(_S.BLOCKED, blocked),
        Row(_S.WAIT_APPROVAL, no_longer_alone),
    ),
    (_S.APPROVED, _E.REJECT): (Row(_S.REJECTED, always),),
    (_S.APPROVED, _E.RECOVERED): (Row(_S.WITHDRAWN, not_fenced),),
    (_S.APPROVED, _E.STARTED): (Row(_S.RUN, may_start),),
}


def decide(
    decision: Decision,
    event: DecisionEvent,
    facts: Facts,
    now_elapsed_s: float,
    settings: Decide,
    *,
    by: str | None = None,
) -> Decision:
    """The decision after `event`; the same one when the table has no row for it. `by`: who."""
    for row in TABLE.get((decision.state, event), ()):
        if row.guard(decision, facts, now_elapsed_s, settings):
            return _entered(decision, row.to, facts, now_elapsed_s, by)
    return replace(decision, reasons=blocks(facts)) if not decision.state.ended else decision


def may_hold(facts: Facts, settings: Decide) -> bool:
    """Whether users are moved to the external API now, by nobody's word: it costs no money and no
    data and is undone by itself, so one vantage point is enough (H3).
    """
    return (
        settings.protect == "auto"
        and facts.down
        and facts.ever_healthy
        and not facts.answers
        and not facts.blind
        and facts.arbiter_reachable
        and facts.leads
        and not facts.paused
    )


def _entered(
    decision: Decision, to: DecisionState, facts: Facts, now_elapsed_s: float, by: str | None
) -> Decision:
    asked_s = decision.asked_elapsed_s
    if to is DecisionState.WAIT_APPROVAL and decision.state is not to:
        asked_s = now_elapsed_s
    who = by or (UNATTENDED if to is DecisionState.APPROVED else decision.by)
    if to in (DecisionState.BLOCKED, DecisionState.WAIT_APPROVAL):
        who = None  # an approval was for the facts as they were then
    return Decision(to, blocks(facts), asked_s, who)
