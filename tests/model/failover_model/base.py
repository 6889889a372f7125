"""What all moves share: changing one part of a state, and the lease."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from failover_model.guards import Guards
from failover_model.parts import Arbiter, Bounds, Broken, Proc, Request, Run, State

from drkit.health.interface import ServiceState
from drkit.health.table import Signal
from drkit.runs.states import MILESTONES, RunEvent

Move = tuple[str, State, Broken | None]
Moves = Iterator[Move]

SIGNALS = {
    RunEvent.START: Signal.RUN_BEGAN,
    RunEvent.COMMIT: Signal.RUN_COMMITTED,
    RunEvent.UNDONE: Signal.RUN_UNDONE,
}


FLIGHT = 2
"""Ticks within which a request has its effect or never will: LONGEST_EFFECT_S."""
GAP = 1
"""Ticks that a live thread may be held up between its last check and its request's leaving."""


class Base:
    def __init__(self, guards: Guards, bounds: Bounds) -> None:
        self.g = guards
        self.bounds = bounds
        self.idle_pcs = ("",) * len(guards.names)
        self._bare: dict[Run, Run] = {}

    # parts

    def run(self, s: State, r: int, **values: Any) -> State:
        run = s.runs[r]._replace(**values)
        return s._replace(runs=(*s.runs[:r], run, *s.runs[r + 1 :]))

    def proc(self, s: State, d: int, **values: Any) -> State:
        proc = s.procs[d]._replace(**values)
        return s._replace(procs=(proc, s.procs[1]) if d == 0 else (s.procs[0], proc))

    def pc(self, s: State, d: int, i: int, pc: str) -> State:
        pcs = s.procs[d].pcs
        return self.proc(s, d, pcs=(*pcs[:i], pc, *pcs[i + 1 :]))

    def spend(self, s: State, what: str) -> State:
        return s._replace(left=s.left._replace(**{what: getattr(s.left, what) - 1}))

    def write(self, s: State, r: int, i: int, kind: str) -> State:
        """One entry of the journal about step `i`."""
        steps = s.runs[r].steps
        rank = 1 + max(step[1] for step in steps) if self.g.undoes[i] else 0
        after = self.g.step_after(steps[i], kind, rank)
        intents = s.runs[r].intents
        if self.g.must_look[i]:
            intents = intents | 1 << i if kind in ("intent", "undo") else intents & ~(1 << i)
        return self.run(s, r, steps=(*steps[:i], after, *steps[i + 1 :]), intents=intents)

    def fire(self, s: State, r: int, event: RunEvent) -> State:
        """Moves the run, tells the service's table, and starts the cooldown at its end."""
        run = s.runs[r]
        after = self.g.run_after(run.state, event)
        if after == run.state and event in MILESTONES:
            return s
        s = self.run(s, r, state=after)
        if event in SIGNALS:
            s = self.tell(s, SIGNALS[event])
        if after in self.g.ended:
            s = s._replace(mind=s.mind._replace(cooldown=True))
        return s

    def tell(self, s: State, signal: Signal) -> State:
        """The next round withdraws a decision that the run has made pointless."""
        health = self.g.told(s.mind.health, signal)
        down = self.g.value(health).state is ServiceState.DOWN
        decision = s.mind.decision if down else None
        return s._replace(mind=s.mind._replace(health=health, decision=decision))

    # leases

    def leased(self, s: State, d: int, r: int) -> State:
        """`d` has the present lease, under a token that the other has seen at once: so it is taken
        as early as it can be."""
        s = s._replace(arbiter=s.arbiter._replace(lease=(d, r), seen=(0, 0)))
        if s.procs[1 - d].held == "now":
            s = self.proc(s, 1 - d, held="old")
        return self.proc(s, d, held="now")

    def too_early(self, a: Arbiter, s: State, d: int) -> Broken | None:
        """T1: a lease is taken from somebody only when it has ended by his own count too."""
        if a.lease is None or a.lease[0] == d:
            return None
        h = a.lease[0]
        if s.procs[h].held == "now" and self.g.left_ticks(a.seen[h]) > 0:
            return Broken("T1", f"drkit {h} still counted its lease when drkit {d} took it")
        return None

    def check(self, s: State, d: int) -> tuple[str, State, Broken | None]:
        """The guard of a step, asked directly before an effect: a word, and the lease renewed."""
        p = s.procs[d]
        assert p.run is not None
        run = s.runs[p.run]
        own = (d, p.run)
        assert run.epoch is not None
        found = self.g.checked(s.arbiter, own, p.held, run.epoch, run.claim == d)
        if not found.leased:
            return found.word, s, None
        broken = self.too_early(s.arbiter, s, d)
        s = self.leased(s, d, p.run)
        if found.wait > s.procs[d].wait:
            s = self.proc(s, d, wait=found.wait)
        return found.word, s, broken

    def end(self, s: State, d: int, *, release: bool) -> State:
        """The process of the run ends. What it was about to send it has sent, or never will.

        It gives its lease back when nothing can still arrive.
        """
        p = s.procs[d]
        if p.run is None:
            return s
        s = self.orphan(s, d, gone=True)
        if release:
            a = s.arbiter
            if p.held and a.up and self.g.gives_back(a, (d, p.run), p.held, p.wait):
                s = s._replace(arbiter=a._replace(lease=None, seen=(0, 0)))
            if s.runs[p.run].claim == d:
                s = self.run(s, p.run, claim=None)
        return self.proc(s, d, **Proc()._asdict())

    def orphan(self, s: State, d: int, *, gone: bool) -> State:
        """Nobody waits any more for what `d` sent."""
        if not any(each.sender == d for each in s.world.sent):
            return s
        sent = tuple(
            (
                each._replace(waiter=None, sender=-1, life=min(each.life, FLIGHT))
                if gone
                else each._replace(waiter=None)
            )
            if each.sender == d
            else each
            for each in s.world.sent
        )
        return self.requests(s, sent)

    def requests(self, s: State, sent: tuple[Request, ...]) -> State:
        return s._replace(world=s.world._replace(sent=tuple(sorted(sent, key=repr))))

    def open_runs(self, s: State, book: int) -> list[int]:
        return [
            r for r, run in enumerate(s.runs) if run.book == book and run.state not in self.g.ended
        ]

    def book_of(self, d: int) -> int:
        return -1 if self.bounds.shared else d

    def boxes(self, s: State, r: int) -> list[str]:
        return [box for box in s.world.boxes if box.startswith(f"box{r}.")]

    def serves(self, s: State) -> bool:
        """Whether the place that the role record names is alive, in truth."""
        _, site, run = s.arbiter.role
        if site == "primary":
            return s.world.primary
        return run is not None and bool(self.boxes(s, run))

    def new_run(self, s: State, d: int) -> State:
        run = Run(self.book_of(d), "PLANNED", (("PENDING", -1),) * len(self.g.names))
        return s._replace(runs=(*s.runs, run))
