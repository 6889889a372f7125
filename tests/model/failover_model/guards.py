"""The model's wiring: every rule it goes by is asked of the function or table that runs.

What is asked twice is remembered, for one search: a test that removes a guard begins a new one.
Modules are named, not what is in them, so that a guard that is replaced there is replaced here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from failover_model.parts import PRIMARY, TICK_S, Arbiter, Bounds

from drkit.clock import ManualClock
from drkit.compute.interface import ComputeError, EffectUnknown, Endpoint, Fault
from drkit.config.decide import Decide
from drkit.config.places import Probe
from drkit.coordination import arbiter as placed
from drkit.coordination import decision as deciding
from drkit.coordination import rules, sightings
from drkit.coordination.interface import (
    ArbiterUnreachable,
    Lease,
    LeaseHeld,
    LeaseLost,
    RoleRecord,
)
from drkit.errors import GuardRefused
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
from drkit.runs import failures, graph, opening, states
from drkit.runs import guard as guarding
from drkit.runs import lease as leasing
from drkit.runs.actions import money, pointing
from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.journal import ClaimLost
from drkit.runs.lease import LEASE_TTL_S
from drkit.runs.plan import Plan, PlannedStep
from drkit.runs.records import Entry, RunState, StepState, paid_resources
from drkit.runs.schema import load_runbook
from drkit.traffic.interface import Setting, SwitchFailed, SwitchPlan, ToExternal
from drkit.wiring import watch as watching

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUNBOOK = Path(__file__).parents[3] / "runbooks" / "primary-gpu-down.yaml"


class Checked(NamedTuple):
    """`word`: ok, claim, down, held, lost, outrun, or stopped. `leased`: the present lease is now
    this one's, under a new token. `wait`: ticks to be waited for before an effect (T3)."""

    word: str
    leased: bool
    wait: int


class _Place:
    """Where the arbiter's state of the one service lies."""

    def __init__(self, arbiter: Arbiter) -> None:
        epoch, site, run = arbiter.role
        who = None if run is None else f"run{run}"
        role = RoleRecord("s", epoch, site, f"http://{site}.example:8000", NOW, who)
        self.up = arbiter.up
        self.state = rules.ServiceState(_lease(arbiter.lease, "present"), role)

    def read(self, _service: str) -> rules.ServiceState:
        if not self.up:
            raise ArbiterUnreachable("the arbiter does not answer", hint="")
        return self.state

    def change(self, service: str, step: Callable[[Any], Any]) -> rules.ServiceState:
        self.state = step(self.read(service))
        return self.state

    def skew_s(self) -> float | None:
        return None


class _Desk:
    """One drkit's lease as the engine keeps it, at one moment of the model."""

    def __init__(self, arbiter: Arbiter, own: tuple[int, int], held: str, wait: int = 0) -> None:
        self.clock = ManualClock()
        self.clock.advance(1e6)
        seen = sightings.MemorySightings()
        if (age := arbiter.seen[own[0]]) is not None:
            seen.save("s", ("present", 1e6 - age * TICK_S))
        self.own = own
        self.place = _Place(arbiter)
        self.arbiter = placed.PlacedArbiter(cast(Any, self.place), seen, self.clock)
        self.kept = leasing.KeptLease(self.arbiter, "s", _holder(own), self.clock)
        self.kept._lease = _lease(own, {"now": "present"}.get(held, "old")) if held else None
        self.kept._free_from_s = 1e6 + wait * TICK_S

    def enter(self, entries: list[Entry]) -> Checked:
        def enter() -> None:
            self.kept._acquire()
            if self.kept.wait_s() == 0:  # from here as `_Execution._outwait_former_holder`
                if states.owes_a_wait(entries):
                    self.kept.outwait()
                elif states.under_way(entries):
                    self.kept.outwait_requests()

        return self._outcome(enter)

    def check(self, epoch: int, claimed: bool) -> Checked:
        journal = cast(Any, SimpleNamespace(holds=lambda _run: claimed))
        run_id = f"run{self.own[1]}"
        guard = guarding.StepGuard(journal, run_id, "step", epoch, self.kept, self.clock)
        return self._outcome(guard.check)

    def leave(self) -> bool:
        self.kept._give_back()
        return self.place.state.lease is None

    def abandon(self) -> tuple[bool, int]:
        written = [Entry(1, NOW, 0.0, "acquire", 1, "intent", {"effect": "paid"})]

        def append(_run: str, kind: Any, **values: Any) -> None:
            written.append(Entry(2, NOW, 0.0, values["step"], 1, kind, values["payload"]))

        journal = cast(Any, SimpleNamespace(append=append))
        guard = guarding.StepGuard(journal, "run", "acquire", 2, self.kept, self.clock)
        guard.leave("it did not stop when it was told to")
        return states.owes_a_wait(written), round(self.kept.wait_s() / TICK_S)

    def renew(self) -> bool:
        return self._outcome(lambda: self.arbiter.renew(cast(Lease, self.kept._lease))).leased

    def record(self, epoch: int) -> bool:
        record = RoleRecord("s", epoch, "site", None, NOW, f"run{self.own[1]}")
        held = cast(Lease, self.kept._lease)
        return self._outcome(lambda: self.arbiter.record_role(held, record)).word == "ok"

    def _outcome(self, act: Callable[[], object]) -> Checked:
        word = "ok"
        try:
            act()
        except ArbiterUnreachable:
            word = "down"
        except ClaimLost:
            word = "claim"
        except LeaseHeld:
            word = "held"
        except LeaseLost:
            word = "lost"
        except GuardRefused:
            word = "outrun"
        held = self.place.state.lease
        leased = held is not None and held.holder == _holder(self.own) and held.token != "present"
        return Checked(word, leased, round(self.kept.wait_s() / TICK_S))


_APP = SimpleNamespace(
    config=SimpleNamespace(service=SimpleNamespace(name="s", primary=PRIMARY)),
    primary=Endpoint("http", "primary.example", 8000),
)


def _holder(own: tuple[int, int]) -> str:
    return f"machine{own[0]}/run{own[1]}"


def _lease(own: tuple[int, int] | None, token: str) -> Lease | None:
    return None if own is None else Lease("s", _holder(own), LEASE_TTL_S, token)


_OFFER = cast(Any, SimpleNamespace(gpu="GPU", region="", usd_per_hour=1.0))


def _record(call: Any, state: str, _offer: Any) -> None:
    """A line of the books as it was written before, whatever writes them now."""
    paid = {"key": "acquire/1", "state": state, "what": "GPU", "usd_per_hour": 1.0}
    call.guard.note({"paid": paid | {"instance_id": None}})


def _books(written: list[Any]) -> tuple[Any, ...]:
    entries = [Entry(n, NOW, 0.0, "acquire", 1, "note", note) for n, note in enumerate(written)]
    return paid_resources(entries)


def _pointed(proof: str, to_box: bool) -> str:
    did: list[str] = []
    before, after = Setting(False, "a"), Setting(False, "b")
    switch = cast(
        Any,
        SimpleNamespace(
            name="s",
            read=lambda: before,
            plan=lambda _before, _to: SwitchPlan("s", "r", before, after),
            apply=lambda _plan: did.append("apply"),
        ),
    )
    call = cast(Any, SimpleNamespace(guard=SimpleNamespace(check=lambda: did.append("check"))))
    context = cast(Any, SimpleNamespace(clock=ManualClock(NOW)))
    age = timedelta(0) if proof == "fresh" else timedelta(minutes=11)
    endpoint = cast(Any, None)
    to = pointing.Proven("t", endpoint, NOW - age) if to_box else ToExternal()
    try:
        pointing.point_to(switch, to, call, context)
    except GuardRefused:
        return "refused"
    return "asked" if did == ["check", "apply"] else "unasked"


class _Book:
    """As much of a `Plan` as the graph asks for."""

    def __init__(self, steps: tuple[PlannedStep, ...]) -> None:
        self.steps = steps
        self._by_id = {step.id: step for step in steps}

    def step(self, step_id: str) -> PlannedStep:
        return self._by_id[step_id]


def contracted(keep: tuple[str, ...]) -> _Book:
    """The shipped runbook with these steps alone; what needed one left out needs what that did."""
    book = load_runbook(RUNBOOK)
    by_id = {step.id: step for step in book.steps}

    def needs(step_id: str) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for need in by_id[step_id].needs:
            found |= dict.fromkeys([need] if need in keep else needs(need))
        return tuple(found)

    steps = []
    for step in book.steps:
        if step.id in keep:
            action = ACTIONS[step.action]
            values: dict[str, Any] = {
                name: getattr(step, name, None) for name in PlannedStep.__dataclass_fields__
            }
            values |= {
                "version": action.version,
                "effect": action.effect,
                "needs": needs(step.id),
            }
            steps.append(PlannedStep(**values))
    return _Book(tuple(steps))


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
                _record(call, before, _OFFER)
            if state == "CONFIRMED_GONE":
                if paid := _books(written):
                    money.close_paid(call, paid[-1])
            else:
                money.record_paid(call, cast(Any, state), "1", _OFFER)
            known = self._memo[key] = paid[-1].state if (paid := _books(written)) else ""
        return cast(str, known)

    def pointed(self, proof: str, to_box: bool) -> str:
        """What `point_to` does with a proof of that age: refused, asked (the guard, before the
        switch is set) or unasked."""
        key = ("pointed", proof, to_box)
        if (known := self._memo.get(key)) is None:
            known = self._memo[key] = _pointed(proof, to_box)
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
            known = self._memo[key] = _Desk(arbiter, own, "").enter(entries)
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
            known = self._memo[key] = _Desk(arbiter, own, held).check(epoch, claimed)
        return cast(Checked, known)

    def renewed(self, arbiter: Arbiter, own: tuple[int, int], held: str) -> bool:
        key = ("renew", arbiter.up, arbiter.lease, arbiter.seen[own[0]], own, held)
        if (known := self._memo.get(key)) is None:
            known = self._memo[key] = _Desk(arbiter, own, held).renew()
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
            known = self._memo[key] = _Desk(arbiter, own, held).record(epoch)
        return cast(bool, known)

    def gives_back(self, arbiter: Arbiter, own: tuple[int, int], held: str, wait: int) -> bool:
        """Whether the arbiter has no lease any more when the process of `own` ends."""
        key = ("end", arbiter.lease, own, held, wait)
        if (known := self._memo.get(key)) is None:
            known = self._memo[key] = _Desk(arbiter, own, held, wait).leave()
        return cast(bool, known)

    def left_behind(self, arbiter: Arbiter, own: tuple[int, int], held: str) -> tuple[bool, int]:
        """Whether the next process waits for a step that nobody waits for any more, and how many
        ticks this one waits from now on."""
        key = ("left behind", arbiter.lease, own, held)
        if (known := self._memo.get(key)) is None:
            known = self._memo[key] = _Desk(arbiter, own, held).abandon()
        return cast(tuple[bool, int], known)

    def left_ticks(self, age: int | None) -> float:
        """Of the present lease, for one who first saw it `age` ticks ago; None: only now."""
        return (1 if age is None else max(0, 1 - age)) * LEASE_TTL_S / TICK_S

    # health and decision

    def serving(self, arbiter: Arbiter) -> str:
        """The site that the watch probes, now that it has read the role record."""
        key = ("serving", arbiter.role)
        if (known := self._memo.get(key)) is None:
            role = _Place(arbiter).state.role
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
