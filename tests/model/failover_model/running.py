"""The engine: a run is taken up, its steps begin, look, ask, send, and are written down.

What no other drkit and no provider could tell apart is one move: an intent, the look and the last
check; an answer and the line that says so.
"""

from __future__ import annotations

from failover_model.base import FLIGHT, GAP, Base, Move, Moves
from failover_model.parts import EXTERNAL, Broken, Request, State

from drkit.runs.failures import Meaning
from drkit.runs.states import MILESTONE_OF, RunEvent

QUIET = ("preflight", "fence", "restore", "verify")
ELSEWHERE = ("claim", "lost", "held")
"""Words of the guard that mean that somebody else acts."""


class Running(Base):
    def process(self, s: State, d: int) -> Moves:
        p = s.procs[d]
        if p.run is None:
            yield from self.take_up(s, d)
            return
        if s.left.crashes[d]:
            crashes = s.left.crashes
            left = (crashes[0] - 1, crashes[1]) if d == 0 else (crashes[0], crashes[1] - 1)
            after = self.end(s._replace(left=s.left._replace(crashes=left)), d, release=False)
            yield f"drkit {d} is killed", after, None
        if s.runs[p.run].claim != d or p.held == "":
            yield f"drkit {d} sees that another acts", self.end(s, d, release=True), None
            yield from self.intended(s, d)
        elif p.phase == "walk":
            yield from self.begins(s, d)
            yield from self.threads(s, d)
        elif p.phase == "stop":
            yield from self.stops(s, d)

    # taking up

    def take_up(self, s: State, d: int) -> Moves:
        for r, run in enumerate(s.runs):
            if run.state in self.g.ended or run.book not in (-1, d):
                continue
            yield from self._take_up(s, d, r, undo=False)
            can = self.g.run_knows(run.state, RunEvent.ROLL_BACK)
            can &= run.state not in ("ROLLING_BACK", "ROLLBACK_FAILED")
            if s.left.acts and can and any(began >= 0 for _, began in run.steps):
                yield from self._take_up(self.spend(s, "acts"), d, r, undo=True)

    def _take_up(self, s: State, d: int, r: int, *, undo: bool) -> Moves:
        run = s.runs[r]
        found = self.g.entered(s.arbiter, (d, r), run.intents, run.former)
        what = f"run {r} up" + (" to roll it back" if undo else "")
        if not found.leased:
            return
        broken = self.too_early(s.arbiter, s, d)
        s = self.leased(s, d, r)
        s = self.proc(s, d, run=r, wait=found.wait, pcs=self.idle_pcs, phase="walk")
        s = self.run(s, r, claim=d, former=run.former or found.wait > 0)
        if run.epoch is None:
            s = self.run(s, r, epoch=s.arbiter.role[0] + 1)
        if any(began >= 0 for _, began in run.steps):
            steps = tuple(self.g.step_after(step, "resumed", 0) for step in run.steps)
            s = self.run(s, r, steps=steps)
        if undo or run.state in ("ROLLING_BACK", "ROLLBACK_FAILED"):
            s = self.proc(self.fire(s, r, RunEvent.ROLL_BACK), d, phase="undo")
        elif run.state == "PLANNED":
            s = self.fire(s, r, RunEvent.START)
        elif run.state == "NEEDS_OPERATOR":
            s = self.fire(s, r, RunEvent.RESUME)
        if s.procs[d].phase == "walk":
            s = self.catch_up(s, r)
        wait = f", and waits {found.wait} ticks" if found.wait else ""
        yield f"drkit {d} takes {what}{wait}", s, broken

    def catch_up(self, s: State, r: int) -> State:
        for i, step in enumerate(self.g.book.steps):
            if s.runs[r].steps[i][0] == "DONE":
                for kind in ("intent", "done"):
                    if event := MILESTONE_OF.get((step.action, kind)):
                        s = self.fire(s, r, event)
        return s

    # steps

    def begins(self, s: State, d: int) -> Moves:
        p = s.procs[d]
        assert p.run is not None
        run = s.runs[p.run]
        busy = tuple(i for i, pc in enumerate(p.pcs) if pc)
        if not busy and self.g.finished(run.steps):
            after = self.end(self.fire(s, p.run, RunEvent.COMMIT), d, release=True)
            yield f"run {p.run} is committed", after, None
            return
        for i in self.g.ready(run.steps, busy):
            yield from self.begin(s, d, p.run, i)

    def urgent(self, s: State) -> list[Move]:
        """What is done within one drkit, and what nobody but it could see: done at once, since it
        comes to the same whenever it is done."""
        for d, p in enumerate(s.procs):
            if p.phase != "walk" or p.run is None or not s.arbiter.up or p.held != "now":
                continue
            if s.runs[p.run].claim != d:
                continue
            busy = tuple(i for i, pc in enumerate(p.pcs) if pc)
            for i in self.g.ready(s.runs[p.run].steps, busy):
                if self.g.names[i] in QUIET or (self.g.must_look[i] and p.wait):
                    return list(self.begin(s, d, p.run, i))
        return []

    def begin(self, s: State, d: int, r: int, i: int) -> Moves:
        """The intent; then the step waits for what a former holder may have sent, or acts."""
        p = s.procs[d]
        unknown = s.runs[r].steps[i][0] == "EFFECT_UNKNOWN"
        s = self.write(s, r, i, "intent")
        if event := MILESTONE_OF.get((self.g.book.steps[i].action, "intent")):
            s = self.fire(s, r, event)
        label = f"drkit {d}: {self.g.names[i]} begins"
        if self.g.must_look[i] and (p.wait or self.bounds.slow):
            yield f"{label}, and waits", self.pc(s, d, i, "Iu" if unknown else "I"), None
        else:
            yield from self.act(s, d, r, i, unknown, label)

    def intended(self, s: State, d: int) -> Moves:
        """Steps whose intent is written and whose wait is over."""
        p = s.procs[d]
        assert p.run is not None
        if p.wait:
            return
        for i, pc in enumerate(p.pcs):
            if pc[:1] == "I":
                label = f"drkit {d}: {self.g.names[i]} has waited"
                yield from self.act(self.pc(s, d, i, ""), d, p.run, i, pc == "Iu", label)

    def act(self, s: State, d: int, r: int, i: int, unknown: bool, label: str) -> Moves:
        """The guard, and the look at what is there already."""
        name = self.g.names[i]
        looks = self.g.looks(i, unknown)
        if self.g.must_look[i] and s.runs[r].former and s.runs[r].claim == d:
            s = self.run(s, r, former=False)  # it has been outwaited, and that is noted
        word, s, broken = self.check(s, d)
        if word != "ok":
            yield from self.refused(s, d, i, word, label, broken)
            return
        match name:
            case "hold" if s.arbiter.role[2] == r or s.world.users == EXTERNAL:
                yield f"{label}: users are held already", self.done(s, d, i), broken
            case "hold":
                yield from self.points(s, d, i, EXTERNAL, "", label, broken)
            case "acquire" if looks and (found := self.boxes(s, r)):
                yield f"{label}: {found[0]} is adopted", self.adopt(s, d, i, found[0]), broken
            case "acquire" if looks and s.runs[r].paid in ("REQUESTED", "ADOPTED"):
                yield f"{label}, and looks for a while", self.pc(s, d, i, "K1"), broken
            case "acquire":
                yield from self.buys(s, d, i, label, broken)
            case "cutover":
                yield from self.cutover(s, d, i, label, broken)
            case "verify":
                yield from self.verify(s, d, i, label, broken)
            case "commit" if s.runs[r].box not in s.world.boxes:
                yield from self.failed(s, d, i, Meaning.STOP, f"{label} in vain", broken)
            case _:
                yield f"{label} and is done", self.done(s, d, i), broken

    def verify(self, s: State, d: int, i: int, label: str, broken: Broken | None) -> Moves:
        r = s.procs[d].run
        assert r is not None
        if s.runs[r].box in s.world.boxes:
            yield f"{label}: verified", self.done(self.run(s, r, proof="fresh"), d, i), broken
        else:
            yield from self.failed(s, d, i, Meaning.STOP, f"{label} in vain", broken)
        if s.left.faults:
            bad = f"{label}: it is not the real thing"
            yield from self.failed(self.spend(s, "faults"), d, i, Meaning.STOP, bad, broken)

    def buys(self, s: State, d: int, i: int, label: str, broken: Broken | None) -> Moves:
        """The request is recorded, then the guard asked once more, then it may leave."""
        r = s.procs[d].run
        assert r is not None
        s = self.pay(s, r, "REQUESTED")
        word, s, early = self.check(s, d)
        if word == "ok":
            after, wrong = self.sent(s, d, i, "create", "")
            yield f"{label}: asks for a machine", after, broken or early or wrong
        else:
            yield from self.refused(s, d, i, word, label, broken or early)

    def cutover(self, s: State, d: int, i: int, label: str, broken: Broken | None) -> Moves:
        r = s.procs[d].run
        assert r is not None
        run = s.runs[r]
        if s.arbiter.role[2] == r and s.world.users == run.box:
            yield f"{label}: users are there already", self.done(s, d, i), broken
            return
        if not self.g.fresh(run.proof):
            if run.box not in s.world.boxes:
                yield from self.failed(s, d, i, Meaning.STOP, f"{label} in vain", broken)
                return
            s = self.run(s, r, proof="fresh")
        if s.arbiter.role[2] != r:
            epoch = run.epoch
            assert epoch is not None
            if not self.g.recorded(s.arbiter, (d, r), s.procs[d].held, epoch):
                yield from self.failed(s, d, i, Meaning.STOP, f"{label}: no role", broken)
                return
            s = s._replace(arbiter=s.arbiter._replace(role=(epoch, "target", r)))
            label += f", epoch {epoch} is recorded"
        yield from self.points(s, d, i, run.box, s.runs[r].proof, label, broken)

    def points(
        self, s: State, d: int, i: int, to: str, proof: str, label: str, broken: Broken | None
    ) -> Moves:
        if s.world.users == to:
            yield f"{label}: users are there already", self.done(s, d, i), broken
            return
        pointed = self.g.pointed(proof, to != EXTERNAL)
        if pointed == "refused":
            yield from self.failed(s, d, i, Meaning.STOP, f"{label}: proof too old", broken)
            return
        word, early = "ok", None
        if pointed == "asked":
            word, s, early = self.check(s, d)
        if word == "ok":
            after, wrong = self.sent(s, d, i, "point", to)
            yield f"{label}: leads users to {to}", after, broken or early or wrong
        else:
            yield from self.refused(s, d, i, word, label, broken or early)

    def threads(self, s: State, d: int) -> Moves:
        p = s.procs[d]
        assert p.run is not None
        yield from self.intended(s, d)
        for i, pc in enumerate(p.pcs):
            if pc[:1] == "K":
                if found := self.boxes(s, p.run):
                    label = f"drkit {d} finds {found[0]} and adopts it"
                    yield label, self.adopt(s, d, i, found[0]), None
                elif pc == "K0":
                    after = self.pay(s, p.run, "CONFIRMED_GONE")
                    word, after, early = self.check(after, d)
                    label = f"drkit {d} finds nothing and confirms it"
                    if word == "ok":
                        yield from self.buys(after, d, i, label, early)
                    else:
                        yield from self.refused(after, d, i, word, label, early)

    # sending

    def sent(self, s: State, d: int, i: int, kind: str, arg: str) -> tuple[State, Broken | None]:
        """The request is on its way, or is about to be: nothing asks again before it leaves."""
        r = s.procs[d].run
        assert r is not None
        broken = self.sent_wrongly(s, d, r, kind, arg)
        request = Request(kind, r, arg, GAP + FLIGHT, d, (d, i))
        s = self.requests(s, (*s.world.sent, request))
        return (self.pc(s, d, i, "S") if i >= 0 else s), broken

    def sent_wrongly(self, s: State, d: int, r: int, kind: str, arg: str) -> Broken | None:
        """Of the world as it is in truth, whatever the guards said."""
        if s.runs[r].claim != d:
            return Broken("R5", f"drkit {d} sends {kind} {arg} of a run that another executes")
        if not s.arbiter.up:
            return Broken("R1", f"drkit {d} sends {kind} {arg} and the arbiter is out of reach")
        if s.arbiter.lease != (d, r) or s.procs[d].held != "now":
            return Broken("R1", f"drkit {d} sends {kind} {arg} and does not hold the lease")
        for each in s.world.sent:
            if each.sender != d:
                what = f"{each.kind} {each.arg} of another process may still arrive"
                return Broken("T3", f"drkit {d} sends {kind} {arg} while {what}")
        if kind == "create" and s.runs[r].paid != "REQUESTED":
            return Broken("R9", "a machine is asked for that is not recorded")
        if kind == "create" and self.boxes(s, r):
            return Broken("R5", "a second machine is asked for")
        proven = s.runs[r].proof == "fresh" and arg in s.world.boxes
        if kind == "point" and arg.startswith("box") and not proven:
            return Broken("R8", "users are led to a machine without a fresh proof")
        return None

    # results

    def done(self, s: State, d: int, i: int) -> State:
        r = s.procs[d].run
        assert r is not None
        s = self.pc(self.write(s, r, i, "done"), d, i, "")
        if event := MILESTONE_OF.get((self.g.book.steps[i].action, "done")):
            s = self.fire(s, r, event)
        return self.tell(s, self.g.moved) if self.g.names[i] == "cutover" else s

    def adopt(self, s: State, d: int, i: int, box: str) -> State:
        r = s.procs[d].run
        assert r is not None
        return self.done(self.run(self.pay(s, r, "ADOPTED"), r, box=box), d, i)

    def pay(self, s: State, r: int, state: str) -> State:
        return self.run(s, r, paid=self.g.paid_after(s.runs[r].paid, state))

    def answered(
        self, s: State, d: int, i: int, kind: str, how: str, box: str, label: str
    ) -> Moves:
        """A step's request was answered, refused, or not answered in its time."""
        r = s.procs[d].run
        assert r is not None
        if s.runs[r].claim != d:
            label += f", and drkit {d} may not write it down"
            yield label, self.end(s, d, release=True), None
        elif how == "ok":
            after = self.adopt(s, d, i, box) if kind == "create" else self.done(s, d, i)
            yield label, after, None
        elif kind == "create" and how == "lost" and (found := self.boxes(s, r)):
            yield f"{label}, and is found", self.adopt(s, d, i, found[0]), None
        else:
            if kind == "create" and how != "lost":
                s = self.pay(s, r, "CONFIRMED_GONE")
            meaning = self.g.meaning_of_answer(kind, how)
            yield from self.failed(s, d, i, meaning, label, None, lost=how == "lost")

    def failed(
        self,
        s: State,
        d: int,
        i: int,
        meaning: Meaning,
        label: str,
        broken: Broken | None,
        *,
        lost: bool = False,
    ) -> Moves:
        """How it ended is written down; it is tried again, or the run does what the step says."""
        p, step = s.procs[d], self.g.book.steps[i]
        assert p.run is not None
        unknown = meaning in (Meaning.UNKNOWN, Meaning.STOPPED)
        s = self.pc(self.write(s, p.run, i, "unknown" if unknown else "failed"), d, i, "")
        state = s.runs[p.run].steps[i][0]
        if lost and step.action == "acquire" and state != "EFFECT_UNKNOWN":
            broken = broken or Broken("R5", f"a call that did not return is {state}")
        if p.phase == "stop":
            yield label, s, broken
            return
        goes_on = step.on_failure == "continue" and state == "FAILED"
        again = meaning in (Meaning.RETRY, Meaning.UNKNOWN) and step.retries
        if goes_on or again:
            yield f"{label}; it " + ("goes on" if goes_on else "tries again"), s, broken
        if not goes_on:
            undo = step.on_failure in ("rollback", "fallback") and meaning is not Meaning.OPERATOR
            after = self.proc(s, d, phase="stop", fate="undo" if undo else "ask")
            yield f"{label}; the run stops", after, broken

    def refused(
        self, s: State, d: int, i: int, word: str, label: str, broken: Broken | None
    ) -> Moves:
        """The guard said no: somebody else acts, the arbiter is away, or the role was moved."""
        label = f"{label}, and may not act: {word}"
        if word in ELSEWHERE:
            yield label, self.end(s, d, release=True), broken
        else:
            meaning = Meaning.RETRY if word == "down" else Meaning.STOP
            yield from self.failed(s, d, i, meaning, label, broken)

    # the end of a walk

    def stops(self, s: State, d: int) -> Moves:
        """Steps that were told to stop are waited for, but not for ever."""
        p = s.procs[d]
        assert p.run is not None
        if any(p.pcs):
            still, wait = self.g.left_behind(s.arbiter, (d, p.run), p.held)
            for i, pc in enumerate(p.pcs):
                if pc:
                    s = self.pc(self.write(s, p.run, i, "unknown"), d, i, "")
                    if pc == "S":
                        s = self.run(s, p.run, former=s.runs[p.run].former or still)
                        s = self.proc(s, d, wait=max(s.procs[d].wait, wait))
            s = self.orphan(s, d, gone=False)
        what = f"drkit {d} stops"
        match p.fate:
            case "undo":
                after = self.proc(self.fire(s, p.run, RunEvent.ROLL_BACK), d, phase="undo", fate="")
                yield f"{what}, and rolls run {p.run} back", after, None
            case "ask":
                after = self.end(self.fire(s, p.run, RunEvent.ASK), d, release=True)
                yield f"{what}: run {p.run} needs an operator", after, None
            case _:
                yield f"{what}, for it was told to", self.end(s, d, release=True), None
