"""Rollback: what began is undone in reverse, and looked for. And what arrives at providers."""

from __future__ import annotations

from failover_model.base import Moves
from failover_model.parts import EXTERNAL, PRIMARY, Broken, Request, State
from failover_model.running import ELSEWHERE, Running

from drkit.runs.states import RunEvent


class Undoing(Running):
    def undoes(self, s: State, d: int) -> Moves:
        p = s.procs[d]
        assert p.run is not None
        if p.undo is not None:
            yield from self.goes_on(s, d, p.undo[0], p.undo[1])
            return
        for i in self.g.began_in_reverse(s.runs[p.run].steps):
            if self.g.undoes[i] and not p.tried & (1 << i):
                if not (self.g.must_look[i] and p.wait):
                    yield from self.undo(s, d, i)
                return
        yield from self.proves(s, d)

    def proves(self, s: State, d: int) -> Moves:
        """What carries the run's tag is looked for; only then is it rolled back (R12)."""
        r = s.procs[d].run
        assert r is not None
        gone = s.runs[r].paid in ("", "CONFIRMED_GONE") and not self.boxes(s, r)
        if s.procs[d].left or not gone:
            after = self.end(self.fire(s, r, RunEvent.STUCK), d, release=True)
            yield f"run {r} could not be rolled back whole", after, None
            return
        broken = self.left_over(s, r)
        after = self.end(self.fire(s, r, RunEvent.UNDONE), d, release=True)
        yield f"run {r} is rolled back", after, broken

    def left_over(self, s: State, r: int) -> Broken | None:
        for i, (state, began) in enumerate(s.runs[r].steps):
            if began >= 0 and self.g.undoes[i] and state != "UNDONE":
                return Broken("R12", f"{self.g.names[i]} began and is {state}")
        if s.world.users.startswith(f"box{r}."):
            return Broken("R12", "users are still led to the target")
        return None

    def out_of_order(self, s: State, r: int, i: int, tried: int) -> Broken | None:
        """R12, from the ranks alone: nothing that began later is still to be undone."""
        steps = s.runs[r].steps
        if steps[i][1] < 0:
            return Broken("R12", f"{self.g.names[i]} never began and is undone")
        for j, (state, began) in enumerate(steps):
            to_undo = self.g.undoes[j] and state != "UNDONE" and not tried & (1 << j)
            if to_undo and began > steps[i][1]:
                return Broken("R12", f"{self.g.names[i]} is undone before {self.g.names[j]}")
        return None

    def undo(self, s: State, d: int, i: int) -> Moves:
        r = s.procs[d].run
        assert r is not None
        name = self.g.names[i]
        label = f"drkit {d}: {name} is undone"
        broken = self.out_of_order(s, r, i, s.procs[d].tried)
        if s.procs[d].leads and name == "acquire":
            yield f"drkit {d}: the machine is kept", self.stuck(s, d, i), broken
            return
        s = self.write(s, r, i, "undo")
        if self.g.must_look[i] and s.runs[r].former:
            s = self.run(s, r, former=False)
        word, s, early = self.check(s, d)
        broken = broken or early
        if word in ELSEWHERE:
            yield f"{label}, and may not: {word}", self.end(s, d, release=True), broken
            return
        if word != "ok":
            yield f"{label}, and cannot: {word}", self.stuck(s, d, i), broken
            return
        match name:
            case "acquire":
                unsure = s.runs[r].paid == "REQUESTED" and not self.boxes(s, r)
                at = "K1" if unsure else "K0"
                yield f"{label}: looks", self.proc(s, d, undo=(i, at)), broken
            case "cutover" if s.arbiter.role[2] == r:
                yield from self.lead_back(s, d, i, label, broken)
            case "hold" if s.world.users == EXTERNAL and s.world.primary:
                yield from self.lead_back(s, d, i, label, broken)
            case _:
                yield label, self.undone(s, d, i), broken

    def lead_back(self, s: State, d: int, i: int, label: str, broken: Broken | None) -> Moves:
        """To the primary if it answers now, else to the external API."""
        to = PRIMARY if s.world.primary else EXTERNAL
        if s.world.users == to:
            yield from self.give_back(s, d, i, label, broken)
            return
        after, wrong = self.sent(s, d, -1, "point", to)
        after = self.proc(after, d, undo=(i, "S"))
        yield f"{label}: users to {to}", after, broken or wrong

    def goes_on(self, s: State, d: int, i: int, at: str) -> Moves:
        """The search for machines to give back."""
        r = s.procs[d].run
        assert r is not None
        label = f"drkit {d}: {self.g.names[i]}"
        if at == "S":
            return
        if found := self.boxes(s, r):
            word, s, broken = self.check(s, d)
            if word in ELSEWHERE:
                yield f"{label} may not: {word}", self.end(s, d, release=True), broken
            elif word != "ok":
                yield f"{label} cannot: {word}", self.stuck(s, d, i), broken
            else:
                after, wrong = self.sent(s, d, -1, "destroy", found[0])
                after = self.proc(after, d, undo=(i, "S"))
                yield f"{label}: {found[0]} goes", after, broken or wrong
        elif at == "K0":
            if s.runs[r].paid:
                s = self.pay(s, r, "CONFIRMED_GONE")
            yield f"{label} is undone", self.undone(s, d, i), None

    def undo_answered(self, s: State, d: int, kind: str, how: str, label: str) -> Moves:
        p = s.procs[d]
        assert p.run is not None
        if s.runs[p.run].claim != d:
            yield (
                f"{label}, and drkit {d} may not write it down",
                self.end(s, d, release=True),
                None,
            )
            return
        assert p.undo is not None
        i = p.undo[0]
        if how != "ok":
            yield f"{label}; it cannot be undone", self.stuck(s, d, i), None
        elif kind == "destroy":
            yield label, self.proc(s, d, undo=(i, "K0")), None
        else:
            yield from self.give_back(s, d, i, label, None)

    def give_back(self, s: State, d: int, i: int, label: str, broken: Broken | None) -> Moves:
        r = s.procs[d].run
        assert r is not None
        epoch, site, run = s.arbiter.role
        if self.g.names[i] != "cutover" or site == PRIMARY or run != r:
            yield f"{label}; it is undone", self.undone(s, d, i), broken
            return
        word, s, early = self.check(s, d)
        broken = broken or early
        if word in ELSEWHERE:
            yield f"{label} may not: {word}", self.end(s, d, release=True), broken
        elif word != "ok" or not self.g.recorded(s.arbiter, (d, r), s.procs[d].held, epoch + 1):
            yield f"{label} cannot be undone: {word}", self.stuck(s, d, i), broken
        else:
            s = s._replace(arbiter=s.arbiter._replace(role=(epoch + 1, PRIMARY, r)))
            yield f"{label} is undone: epoch {epoch + 1}", self.undone(s, d, i), broken

    def undone(self, s: State, d: int, i: int) -> State:
        r = s.procs[d].run
        assert r is not None
        s = self.write(s, r, i, "undone")
        return self.proc(s, d, undo=None, tried=s.procs[d].tried | 1 << i)

    def stuck(self, s: State, d: int, i: int) -> State:
        p = s.procs[d]
        leads = p.leads or self.g.book.steps[i].effect.value == "traffic"
        return self.proc(s, d, undo=None, tried=p.tried | 1 << i, left=True, leads=leads)


class Providing(Undoing):
    def arrivals(self, s: State) -> Moves:
        for number, request in enumerate(s.world.sent):
            rest = (*s.world.sent[:number], *s.world.sent[number + 1 :])
            yield from self.arrives(s._replace(world=s.world._replace(sent=rest)), request)

    def arrives(self, s: State, request: Request) -> Moves:
        sender = f"drkit {request.sender}" if request.sender >= 0 else "a process that ended"
        label = f"{request.kind} {request.arg} of {sender}"
        after, broken, box = self.effect(s, request)
        if request.waiter is None:
            yield f"late, {label} has its effect", after, broken
            yield f"{label} never arrives", s, None
            return
        if broken:
            yield f"{label} has its effect", after, broken
        yield from self.answer(after, request, "ok", box, f"{label} has its effect")
        if not s.left.faults:
            return
        lost, none = self.spend(after, "faults"), self.spend(s, "faults")
        silent = f"{label} has its effect, and no answer comes"
        yield from self.answer(lost, request, "lost", box, silent)
        silent = f"{label} has no effect, and no answer comes"
        yield from self.answer(none, request, "lost", "", silent)
        yield from self.answer(none, request, "down", "", f"{label} is refused: the API is down")
        if request.kind == "create":
            yield from self.answer(none, request, "full", "", f"{label} is refused: no capacity")

    def answer(self, s: State, request: Request, how: str, box: str, label: str) -> Moves:
        assert request.waiter is not None
        d, i = request.waiter
        if i >= 0:
            yield from self.answered(s, d, i, request.kind, how, box, label)
        else:
            yield from self.undo_answered(s, d, request.kind, how, label)

    def effect(self, s: State, request: Request) -> tuple[State, Broken | None, str]:
        w, r = s.world, request.run
        match request.kind:
            case "create":
                box = f"box{r}.{len(self.boxes(s, r))}"
                broken = None
                if self.boxes(s, r):
                    broken = Broken("R5", f"run {r} has two machines")
                elif s.runs[r].paid not in ("REQUESTED", "ADOPTED"):
                    broken = Broken(
                        "R9", f"a machine exists that is {s.runs[r].paid or 'unrecorded'}"
                    )
                boxes = tuple(sorted({*w.boxes, box}))
                return s._replace(world=w._replace(boxes=boxes)), broken, box
            case "destroy":
                boxes = tuple(box for box in w.boxes if box != request.arg)
                broken = None
                if w.users == request.arg:
                    broken = Broken("R8", "the machine that users are led to is destroyed")
                return s._replace(world=w._replace(boxes=boxes)), broken, ""
            case _:
                broken = None
                if request.arg.startswith("box") and request.arg not in w.boxes:
                    broken = Broken("R8", "users are led to a machine that is gone")
                return s._replace(world=w._replace(users=request.arg)), broken, ""
