"""The protective hold, carried out: by the leader, under the service's lease, and written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from drkit.clock import Clock
from drkit.compute.interface import Endpoint
from drkit.coordination.hold import (
    HoldNote,
    Move,
    Phase,
    Todo,
    hold_key,
    next_move,
    note_from,
)
from drkit.coordination.hold_record import write_note
from drkit.coordination.interface import Arbiter, LeaseHeld, LeaseLost
from drkit.coordination.leadership import LeaderPass, watch_key
from drkit.io_policy import LONGEST_EFFECT_S
from drkit.runs.lease import KeptLease
from drkit.runs.records import EXTERNAL
from drkit.traffic.interface import (
    Destination,
    Setting,
    Switch,
    SwitchFailed,
    SwitchPlan,
    ToExternal,
    ToSite,
)

Audit = Callable[[str, Mapping[str, object]], object]
"""(what, detail): one line more in the audit log, durable when it returns."""

# A wait (T3) that is longer is left to the next round, which looks again first.
_MOST_WAIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Serving:
    """Where users are led back to, seen alive by its own address in this very round (R8)."""

    site: str
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Flip:
    """What was done. `why` in words, also when it was nothing."""

    todo: Todo
    note: HoldNote
    why: str = ""


class NotLeading(LeaseLost):
    """Another drkit leads by now; nothing more is done."""


@dataclass(frozen=True, slots=True)
class Protector:
    """Moves users to the external API and back, for the leader that `leader` names.

    `switches`: all of production. `time_scale`: waits are divided by it (the sandbox).
    """

    service: str
    arbiter: Arbiter
    switches: Sequence[Switch]
    leader: LeaderPass
    clock: Clock
    audit: Audit
    time_scale: float = 1.0

    def note(self) -> HoldNote:
        """What the hold did last. Raises `ArbiterUnreachable`."""
        return note_from(self.arbiter.read_role(hold_key(self.service)))

    def follow(self, *, may_hold: bool, serving: Serving | None, well: bool) -> Flip:
        """Does what is to do now, if anything, and says it. `serving`: where users may be led back
        to; None: nowhere yet.

        Raises `ArbiterUnreachable`, `NotLeading`, `SwitchFailed`, `SwitchMoved`; a flip that was
        cut short is looked at in the next round.
        """
        note = self.note()
        if not (note.on or may_hold or note.phase is Phase.LEFT):
            return Flip(Todo.NOTHING, note)
        able = {switch.name: switch for switch in self.switches if not switch.refusal(ToExternal())}
        seen = self._seen(note, able)
        move = next_move(
            note,
            {name: setting.held for name, setting in seen.items()},
            may_hold=may_hold,
            may_release=serving is not None,
            well=well,
        )
        if move.todo is Todo.NOTHING:
            return Flip(move.todo, note, move.why)
        to: Destination = ToExternal()
        if move.todo is Todo.RELEASE:
            assert serving is not None
            to = ToSite(serving.site, serving.endpoint)
        return self._carried_out(note, move, to, {name: able[name] for name in move.switches}, seen)

    def _seen(self, note: HoldNote, able: Mapping[str, Switch]) -> dict[str, Setting]:
        """How each switch stands. One that cannot be read keeps no other from holding users, unless
        this hold set it: then nothing is known. Raises `SwitchFailed` for that one, or for all.
        """
        seen, failures = {}, {}
        for name, switch in able.items():
            try:
                seen[name] = switch.read()
            except SwitchFailed as error:
                failures[name] = error
        for name, failure in failures.items():
            if not seen or (note.on and name in note.switches):
                raise failure
        return seen

    def _carried_out(
        self,
        note: HoldNote,
        move: Move,
        to: Destination,
        switches: Mapping[str, Switch],
        seen: Mapping[str, Setting],
    ) -> Flip:
        holder, former = f"{self.leader.holder}/hold", note
        if (wait_s := self._wait_s() / self.time_scale) > _MOST_WAIT_S:
            waits = f"waits {wait_s:.0f} s for what another sent, or is about to send (T3)"
            return Flip(Todo.NOTHING, note, waits)
        if wait_s > 0:  # what was read before is too old after it
            self.clock.sleep(wait_s)
            seen = {name: switch.read() for name, switch in switches.items()}
        try:
            with KeptLease(self.arbiter, self.service, holder, self.clock) as lease:
                role = self.arbiter.read_role(self.service)
                epoch = role.epoch + 1 if role else 1
                plans = [switch.plan(seen[name], to) for name, switch in switches.items()]
                note = self._begun(note, move, to)
                failures = []

                def still() -> None:
                    self._must_lead()
                    lease.prove(holder, epoch)

                for plan in plans:
                    try:
                        switches[plan.switch].apply(plan, still)
                    except SwitchFailed as error:  # it keeps no other from being set
                        failures.append(error)
                for failure in failures:
                    raise failure
                note = self._noted(note, move.phase, _kept(former, move), to)
                if move.todo is not Todo.NOTE:
                    self.audit(f"hold: {move.phase.value}", self._detail(move, plans, note))
        except LeaseHeld as error:
            return Flip(Todo.NOTHING, note, f"left to who acts for the service: {error.message}")
        return Flip(move.todo, note, move.why)

    def _begun(self, note: HoldNote, move: Move, to: Destination) -> HoldNote:
        if move.todo is Todo.NOTE:
            return note
        phase = Phase.HOLDING if move.todo is Todo.HOLD else Phase.RELEASING
        begun = self._noted(note, phase, _all(note, move), to)
        self.audit(f"hold: {phase.value}", self._detail(move, (), begun))
        return begun

    def _noted(
        self, note: HoldNote, phase: Phase, names: tuple[str, ...], to: Destination
    ) -> HoldNote:
        """The note on the arbiter, written by who leads."""
        self._must_lead()
        site = to.site if isinstance(to, ToSite) else EXTERNAL
        now, holder = self.clock.now(), self.leader.holder
        return write_note(self.arbiter, holder, note, phase, names, self.service, site, now)

    def _wait_s(self) -> float:
        """Until nothing of a former leader, or of who had the service's lease and did not give it
        back, can still arrive (T3). That lease is not taken meanwhile: its run may be resumed.
        """
        wait_s = max(0.0, self.leader.free_from_s - self.clock.elapsed_s())
        held = self.arbiter.holding(self.service)
        return wait_s if held is None else max(wait_s, held.left_s + LONGEST_EFFECT_S)

    def _must_lead(self) -> None:
        """Directly before every effect, on a clock that runs on in suspend (T2)."""
        holding = self.arbiter.holding(watch_key(self.service))
        if holding is None or holding.holder != self.leader.holder or holding.left_s <= 0:
            raise NotLeading(
                f"{self.leader.holder} does not lead the watch of {self.service} any more",
                hint="nothing more was done; who leads now looks at what was begun",
            )

    def _detail(self, move: Move, plans: Sequence[SwitchPlan], note: HoldNote) -> dict[str, object]:
        return {
            "why": move.why,
            "epoch": note.epoch,
            "leader": self.leader.holder,
            "switches": [
                {"switch": plan.switch, "before": _shown(plan.before), "after": _shown(plan.after)}
                for plan in plans
            ]
            or list(move.switches),
        }


def _all(note: HoldNote, move: Move) -> tuple[str, ...]:
    """The switches that are set, or were before."""
    before = note.switches if note.on else ()
    return tuple(dict.fromkeys((*before, *move.switches)))


def _kept(note: HoldNote, move: Move) -> tuple[str, ...]:
    """The switches that stay set when the move is done."""
    return _all(note, move) if move.phase is Phase.HELD else ()


def _shown(setting: Setting) -> dict[str, object]:
    return {"held": setting.held, "value": setting.value}
