"""What follows from a round of the watch: users are held or led back, a decision is weighed, and
one that needs nobody's word is carried out. Only by the leader; the others look on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drkit.cli.session import Session
from drkit.errors import DrkitError
from drkit.events import Note

if TYPE_CHECKING:
    from drkit.coordination.decision import Facts
    from drkit.coordination.decisions import DecisionRecord
    from drkit.coordination.hold import HoldNote
    from drkit.coordination.leadership import LeaderPass
    from drkit.operations.roles import SeenRole
    from drkit.operations.watch.protect import Serving
    from drkit.operations.watch.watch import Watched
    from drkit.wiring import App


@dataclass(frozen=True, slots=True)
class Followed:
    """`not_led`: why nothing was done; None: this command leads. `hold`: as it is noted now."""

    not_led: str | None
    decision: DecisionRecord | None = None
    hold: HoldNote | None = None
    run_id: str | None = None

    def values(self) -> dict[str, Any]:
        return {
            "leads": self.not_led is None,
            "not_led": self.not_led,
            "hold": self.hold.phase.value if self.hold else None,
            "run": self.run_id,
        }


def follow(session: Session, app: App, watched: Watched, role: SeenRole) -> Followed:
    """Does what follows from `watched`, as far as this command may: nothing without the state,
    for what is done is written down first.
    """
    from drkit.state.database import StateUnavailable

    try:
        return _follow(session, app, watched, role)
    except StateUnavailable as error:
        app.emit(Note("error", "state", f"{error.message}; {error.hint}"))
        return Followed(error.message)


def _follow(session: Session, app: App, watched: Watched, role: SeenRole) -> Followed:
    from drkit.cli.runs.acting import act_alone
    from drkit.health.record import health_json
    from drkit.operations.watch.decide import is_well, weigh
    from drkit.wiring.leading import NotLed, led
    from drkit.wiring.watch import open_decisions, open_health_log, read_facts, service_of
    from drkit.wiring.witness import hear_witnesses

    decisions = open_decisions(app)
    with led(app) as leader:
        if isinstance(leader, NotLed) and leader.reachable:
            return Followed(leader.why, decisions.open())
        if watched.changes:
            open_health_log(app).append(watched.changes)
        app.database.remember(f"health/{service_of(app).name}", health_json(watched.health))
        down = watched.health.down_now
        facts = read_facts(
            app,
            watched.health,
            leads=True,  # or nobody knows who does, and then the arbiter is what blocks
            arbiter_reachable=not isinstance(leader, NotLed) and role.unconfirmed is None,
            heard=hear_witnesses(app, watched.site) if down else (),
        )
        well = is_well(watched.health, app.config.probe)
        hold = None
        if not isinstance(leader, NotLed):
            hold = _protect(app, leader, facts, _serving(watched, role, facts, well), well)
        _, decision = weigh(decisions, facts, app.config.decide, well=well)
        if isinstance(leader, NotLed):
            return Followed(leader.why, decision)
        run_id = act_alone(session, app, leader, decision, watched.health.first_failed_at)
        _look_after_standbys(app)
        return Followed(None, decision, hold, run_id)


def _serving(watched: Watched, role: SeenRole, facts: Facts, well: bool) -> Serving | None:
    """Where users may be led back to: to who serves by the record, seen alive in this round."""
    from drkit.operations.watch.protect import Serving
    from drkit.runs.records import EXTERNAL

    moved_by_hand = role.role is not None and role.role.site == EXTERNAL
    if moved_by_hand or facts.open_run or facts.paused or not facts.arbiter_reachable:
        return None
    if not well or not watched.observation.alive or watched.observation.answered_by is None:
        return None
    return Serving(watched.site, watched.endpoint)


def _protect(
    app: App, leader: LeaderPass, facts: Facts, serving: Serving | None, well: bool
) -> HoldNote | None:
    """Users are best off on the external API while nobody answers: this comes before all else."""
    from drkit.coordination.decision import may_hold
    from drkit.coordination.hold import Todo
    from drkit.wiring.leading import open_protector

    try:
        flip = open_protector(app, leader).follow(
            may_hold=may_hold(facts, app.config.decide), serving=serving, well=well
        )
    except DrkitError as error:
        app.emit(Note("error", "hold", f"{error.message}; {error.hint}"))
        return None
    if flip.todo in (Todo.HOLD, Todo.RELEASE):
        app.emit(Note("warning", "hold", f"{flip.note.phase.value}: {flip.why}"))
    elif flip.why:
        app.emit(Note("info", "hold", flip.why))
    return flip.note


def _look_after_standbys(app: App) -> None:
    from drkit.wiring.watch import verify_standbys

    try:
        for proof in verify_standbys(app):
            if proof.fails:
                app.emit(Note("warning", proof.target, f"the standby fails: {proof.fails}"))
    except DrkitError as error:
        app.emit(Note("warning", "standby", f"could not be asked: {error.message}"))
