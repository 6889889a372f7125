"""The model's wiring: every rule it goes by is asked of the function or table that runs.

What is asked twice is remembered, for one search: a test that removes a guard begins a new one.
Modules are named, not what is in them, so that a guard that is replaced there is replaced here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from types import SimpleNamespace
from typing import Any, cast

from failover_model.book import BOOK_OFFER, books, contracted, pointed_by, record
from failover_model.desk import NOW, Checked, Desk, Place
from failover_model.parts import PRIMARY, TICK_S, Arbiter, Bounds

from drkit.compute.interface import ComputeError, EffectUnknown, Endpoint, Fault
from drkit.config.decide import Decide
from drkit.config.places import Probe
from drkit.coordination import decision as deciding
from drkit.health import table
from drkit.health.interface import (
    REFERENCE,
    Observation,
    ProbeResult,
    ServiceHealth,
    ServiceState,
    Verdict,
)
from drkit.operations.roles import SeenRole
from drkit.runs import failures, states
from drkit.runs.actions import money, pointing
from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.book import graph
from drkit.runs.book.plan import Plan
from drkit.runs.journal import opening
from drkit.runs.lease import LEASE_TTL_S
from drkit.runs.records import Entry, RunState, StepState
from drkit.traffic.interface import SwitchFailed
from drkit.wiring import watch as watching

_APP = SimpleNamespace(
    config=SimpleNamespace(service=SimpleNamespace(name="s", primary=PRIMARY)),
    primary=Endpoint("http", "primary.example", 8000),
)


class Guards:
    def __init__(self, bounds: Bounds) -> None:
        self.book = contracted(bounds.steps)
        self.plan = cast(Plan, self.book)
        self.names = [step.id for step in self.book.steps]
        self.number = {name: number for number, name in enumerate(self.names)}
        self.must_look = [step.effect.must_look for step in self.book.steps]
        self.undoes = [ACTIONS[step.action].undo is not None for step in self.book.steps]
        self.decide_settings = Decide(mode=bounds.mode, most_per_day=9, most_per_week=9)  # type: ignore[arg-type]
        self.probe = Probe(down_after=2, down_after_s="0s", up_after=1, known_after=1)
        self._memo: dict[Any, Any] = {}
        self._interned: dict[Any, int] = {}
        self._values: list[Any] = []

    def intern(self, value: Any) -> int:
        number = self._interned.get(value)
        if number is None:
            number = self._interned[value] = len(self._values)
            self._values.append(value)
        return number

    def value(self, number: int) -> Any:
        return self._values[number]

    # steps and runs

    def step_after(self, step: tuple[str, int], kind: str, rank: int) -> tuple[str, int]:
        key = ("step", step, kind, rank)
        if (known := self._memo.get(key)) is None:
            payload: dict[str, Any] = {"undo": True} if kind == "undo" else {}
            payload |= {"effect_unknown": "why"} if kind == "unknown" else {}
            written: Any = {"undo": "intent", "unknown": "note"}.get(kind, kind)
            entry = Entry(rank, NOW, 0.0, "s", 1, written, payload)
            event = states.step_event(entry)
            assert event == kind
            after = states._advance(self._progress(step), event, entry)
            began = -1 if after.began_seq is None else after.began_seq
            known = self._memo[key] = (after.state.value, began)
        return cast(tuple[str, int], known)

    def _progress(self, step: tuple[str, int]) -> states.StepProgress:
        began = None if step[1] < 0 else step[1]
        return states.StepProgress(StepState(step[0]), 0 if began is None else 1, began)

    def _all(self, steps: tuple[tuple[str, int], ...]) -> Mapping[str, states.StepProgress]:
        return {name: self._progress(step) for name, step in zip(self.names, steps, strict=True)}

    def ready(self, steps: tuple[tuple[str, int], ...], busy: tuple[int, ...]) -> tuple[int, ...]:
        key = ("ready", steps, busy)
        if (known := self._memo.get(key)) is None:
            names = {self.names[number] for number in busy}
            found = graph.ready(self.plan, self._all(steps), names)
            known = self._memo[key] = tuple(self.number[step.id] for step in found)
        return cast(tuple[int, ...], known)

    def finished(self, steps: tuple[tuple[str, int], ...]) -> bool:
        key = ("finished", steps)
        if (known := self._memo.get(key)) is None:
            known = self._memo[key] = graph.finished(self.plan, self._all(steps))
        return cast(bool, known)

    def began_in_reverse(self, steps: tuple[tuple[str, int], ...]) -> tuple[int, ...]:
        key = ("reverse", steps)
        if (known := self._memo.get(key)) is None:
            found = graph.began_in_reverse(self.plan, self._all(steps))
            known = self._memo[key] = tuple(self.number[step.id] for step in found)
        return cast(tuple[int, ...], known)

    def run_after(self, state: str, event: states.RunEvent) -> str:
        key = ("run", state, event.name)
        if (known := self._memo.get(key)) is None:
            known = self._memo[key] = states.run_after(RunState(state), event).value
        return cast(str, known)

    def run_knows(self, state: str, event: states.RunEvent) -> bool:
        return (RunState(state), event) in states.RUN_TABLE

    @cached_property
    def ended(self) -> frozenset[str]:
        return frozenset(state.value for state in RunState if state.ended)

    moved = table.Signal.RUN_MOVED

    @staticmethod
    def meaning_of_answer(kind: str, how: str) -> failures.Meaning:
        """What the engine makes of the error that the adapter raises for it."""
        if kind != "create":
            return failures.meaning_of(SwitchFailed("s", hint=""))
        if how == "lost":
            return failures.meaning_of(EffectUnknown("s", hint=""))
        fault = Fault.OUT_OF_CAPACITY if how == "full" else Fault.TRANSIENT
        return failures.meaning_of(ComputeError("s", hint="", fault=fault))

    def looks(self, i: int, unknown: bool) -> bool:
        """Whether the step looks before it acts, as the engine has it."""
        step = self.book.steps[i]
        return unknown or step.effect.must_look

    def paid_after(self, before: str, state: str) -> str:
        """How the run's own books show the machine, after `money` wrote it down."""
        key = ("paid", before, state)
        if (known := self._memo.get(key)) is None:
            written: list[Any] = []
            call = cast(
                Any, SimpleNamespace(step_id="acquire", guard=SimpleNamespace(note=written.append))
            )
            if before:
                record(call, before, BOOK_OFFER)
            if state == "CONFIRMED_GONE":
                if paid := books(written):
                    money.close_paid(call, paid[-1])
            else:
                money.record_paid(call, cast(Any, state), "1", BOOK_OFFER)
            known = self._memo[key] = paid[-1].state if (paid := books(written)) else ""
        return cast(str, known)

    def pointed(self, proof: str, to_box: bool) -> str:
        """What `point_to` does with a proof of that age: refused, asked (the guard, before the
        switch is set) or unasked."""
        key = ("pointed", proof, to_box)
        if (known := self._memo.get(key)) is None:
            known = self._memo[key] = pointed_by(proof, to_box)
        return cast(str, known)

    def fresh(self, proof: str) -> bool:
        """`proof`: fresh, stale or none."""
        if not proof:
            return False
        age = timedelta(0) if proof == "fresh" else timedelta(minutes=11)
        return pointing.fresh(NOW, NOW + age)

    # the arbiter: the lease and the guard of the engine themselves, on a place of their own

    def entered(
        self, arbiter: Arbiter, own: tuple[int, int], intents: int, former: bool
    ) -> Checked:
        """What comes of it when `own` (drkit, run) takes the run up, whose journal shows
        `intents` without a result, and a `former` holder that was not outwaited."""
        key = ("enter", arbiter.up, arbiter.lease, arbiter.seen[own[0]], own, intents, former)
        if (known := self._memo.get(key)) is None:
            entries = [
                Entry(n, NOW, 0.0, step.id, 1, "intent", {"effect": step.effect.value})
                for n, step in enumerate(self.book.steps)
                if intents & 1 << n
            ]
            if former:
                entries.append(Entry(99, NOW, 0.0, None, 0, "note", {"former_holder": True}))
            known = self._memo[key] = Desk(arbiter, own, "").enter(entries)
        return cast(Checked, known)

    def checked(
        self, arbiter: Arbiter, own: tuple[int, int], held: str, epoch: int, claimed: bool
    ) -> Checked:
        """What comes of it when a step of `own` asks directly before its effect."""
        key = (
            "check",
            arbiter.up,
            arbiter.lease,
            arbiter.seen[own[0]],
            arbiter.role,
            own,
            held,
            epoch,
            claimed,
        )
        if (known := self._memo.get(key)) is None:
            known = self._memo[key] = Desk(arbiter, own, held).check(epoch, claimed)
        return cast(Checked, known)

    def renewed(self, arbiter: Arbiter, own: tuple[int, int], held: str) -> bool:
        key = ("renew", arbiter.up, arbiter.lease, arbiter.seen[own[0]], own, held)
        if (known := self._memo.get(key)) is None:
            known = self._memo[key] = Desk(arbiter, own, held).renew()
        return cast(bool, known)

    def recorded(self, arbiter: Arbiter, own: tuple[int, int], held: str, epoch: int) -> bool:
        """Whether the arbiter takes the role record of `epoch`."""
        key = (
            "record",
            arbiter.up,
            arbiter.lease,
            arbiter.seen[own[0]],
            arbiter.role,
            own,
            held,
            epoch,
        )
        if (known := self._memo.get(key)) is None:
            known = self._memo[key] = Desk(arbiter, own, held).record(epoch)
        return cast(bool, known)

    def gives_back(self, arbiter: Arbiter, own: tuple[int, int], held: str, wait: int) -> bool:
        """Whether the arbiter has no lease any more when the process of `own` ends."""
        key = ("end", arbiter.lease, own, held, wait)
        if (known := self._memo.get(key)) is None:
            known = self._memo[key] = Desk(arbiter, own, held, wait).leave()
        return cast(bool, known)

    def left_behind(self, arbiter: Arbiter, own: tuple[int, int], held: str) -> tuple[bool, int]:
        """Whether the next process waits for a step that nobody waits for any more, and how many
        ticks this one waits from now on."""
        key = ("left behind", arbiter.lease, own, held)
        if (known := self._memo.get(key)) is None:
            known = self._memo[key] = Desk(arbiter, own, held).abandon()
        return cast(tuple[bool, int], known)

    def left_ticks(self, age: int | None) -> float:
        """Of the present lease, for one who first saw it `age` ticks ago; None: only now."""
        return (1 if age is None else max(0, 1 - age)) * LEASE_TTL_S / TICK_S

    # health and decision

    def serving(self, arbiter: Arbiter) -> str:
        """The site that the watch probes, now that it has read the role record."""
        key = ("serving", arbiter.role)
        if (known := self._memo.get(key)) is None:
            role = Place(arbiter).state.role
            site, _ = watching.serving(cast(Any, _APP), SeenRole(role, NOW))
            known = self._memo[key] = site
        return cast(str, known)

    def begin_health(self, known: bool) -> int:
        state = ServiceState.HEALTHY if known else ServiceState.UNKNOWN
        return self.intern(ServiceHealth(state, ever_healthy=known, good_rounds=int(known)))

    def health_after(self, health: int, seen: str, at_home: bool) -> int:
        key = ("health", health, seen, at_home)
        if (known := self._memo.get(key)) is None:
            former: ServiceHealth = self.value(health)
            home = ServiceState.HEALTHY if at_home else ServiceState.SERVING_TARGET
            after, _ = table.advance(
                replace(former, home=home), _OBSERVATIONS[seen], 0.0, self.probe
            )
            known = self._memo[key] = self.intern(self._capped(after))
        return cast(int, known)

    def told(self, health: int, signal: table.Signal) -> int:
        key = ("told", health, signal.name)
        if (known := self._memo.get(key)) is None:
            after, _ = table.told(self.value(health), signal, 0.0, self.probe)
            known = self._memo[key] = self.intern(self._capped(after))
        return cast(int, known)

    def _capped(self, health: ServiceHealth) -> ServiceHealth:
        """Rounds beyond what any guard asks for are no other state."""
        return replace(
            health,
            failed_rounds=min(health.failed_rounds, self.probe.down_after),
            good_rounds=min(health.good_rounds, self.probe.up_after),
            first_failed_at=None if health.first_failed_at is None else NOW,
            last_round_elapsed_s=None,
            suspicions=health.suspicions[-3:] if self.decide_settings.mode == "auto" else (),
        )

    def approved(self, decision: int) -> str | None:
        """Who approved it; None: nobody."""
        value: deciding.Decision = self.value(decision)
        return value.by if value.state is deciding.DecisionState.APPROVED else None

    one_at_a_time = True
    """The partial unique index of the database; tests/unit/runs opens two at once against it."""

    def may_open(self, right: opening.Right, paused: bool, cooldown: bool, unattended: int) -> bool:
        key = ("open", right.name, paused, cooldown, unattended)
        if (known := self._memo.get(key)) is None:
            standing = opening.Standing(
                "for a while" if paused else None, 60.0 * cooldown, unattended, unattended
            )
            opener = opening.Opener("drkit", right, self.decide_settings)
            read, opening.read_standing = opening.read_standing, lambda *_: standing
            try:
                opening.may_open(cast(Any, None), "s", opener, NOW)
                known = True
            except opening.NotNow:
                known = False
            finally:
                opening.read_standing = read
            self._memo[key] = known
        return cast(bool, known)

    def calmed(self, health: int) -> int:
        return self.intern(replace(self.value(health), suspicions=()))

    def listens(self, health: int) -> bool:
        """Whether a round can move this state at all."""
        state = self.value(health).state
        return any(
            (state, signal) in table.TABLE for signal in (table.Signal.GOOD, table.Signal.BAD)
        )

    def facts(self, **values: Any) -> deciding.Facts:
        return deciding.Facts(**values)

    def decided(
        self, decision: int | None, event: deciding.DecisionEvent, facts: deciding.Facts, late: bool
    ) -> int:
        key = ("decide", decision, event.name, facts, late)
        if (known := self._memo.get(key)) is None:
            before = deciding.Decision() if decision is None else self.value(decision)
            now_s = 1e9 if late else 0.0
            by = "operator" if event is deciding.DecisionEvent.APPROVE else None
            after = deciding.decide(before, event, facts, now_s, self.decide_settings, by=by)
            after = replace(after, reasons=())  # words for people
            if after.asked_elapsed_s is not None:
                after = replace(after, asked_elapsed_s=0.0)
            known = self._memo[key] = self.intern(after)
        return cast(int, known)


def _observation(**verdicts: Verdict) -> Observation:
    results = tuple(ProbeResult(name, verdict, "") for name, verdict in verdicts.items())
    return Observation(NOW, "http://x", results, "m")


_P, _F = Verdict.PASSED, Verdict.FAILED
_OBSERVATIONS = {
    "good": _observation(liveness=_P, completion=_P),
    "bad": _observation(liveness=_F, **{REFERENCE: _P}),
    "blind": _observation(liveness=_F, **{REFERENCE: _F}),
}
