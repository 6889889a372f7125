"""States that are alike: what no move and no rule reads any more is forgotten in them, and two
drkits that share all exchange their places, so that one stands for both."""

from __future__ import annotations

from failover_model.base import Base
from failover_model.parts import Proc, Run, State

BACK = ("ROLLING_BACK", "ROLLBACK_FAILED", "ROLLED_BACK")


class Alike(Base):
    def canonical(self, s: State, before: State | None = None) -> tuple[State, bool]:
        """The state that stands for `s`, and whether drkits changed places. What is the same in
        `before`, a state that stands for others already, is not looked at again."""
        s = self.bare(s, before)
        if not self.bounds.shared:
            return s, False
        if s.procs[0] == s.procs[1]:
            one, other = self.leans(s, 0), self.leans(s, 1)
        else:
            one, other = hash(s.procs[0]), hash(s.procs[1])
        return (self.mirrored(s), True) if one > other else (s, False)

    def bare(self, s: State, before: State | None) -> State:
        """`s` without what is over; `left` is as it was."""
        if before is None or s.runs is not before.runs:
            s = s._replace(runs=tuple([self.bare_run(run) for run in s.runs]))
        for d, p in enumerate(s.procs):
            if p.run is not None and s.runs[p.run].claim != d:
                waits = any(each.sender == d for each in s.world.sent)
                s = self.proc(s, d, **_outdone(p, waits=waits)._asdict())
        return s

    def bare_run(self, run: Run) -> Run:
        """Of what can be undone the order in which it began is kept. A run that is rolled back
        never walks again: of each step only whether it is still to be undone."""
        known = self._bare.get(run)
        if known is None:
            back = run.state in BACK
            order = sorted(
                {
                    began
                    for (state, began), undoes in zip(run.steps, self.g.undoes, strict=True)
                    if undoes and began >= 0 and state != "UNDONE"
                }
            )
            steps = []
            for n, (state, began) in enumerate(run.steps):
                if state == "UNDONE" or not self.g.undoes[n]:
                    began = min(began, 0)
                    if back and state != "UNDONE" and self.g.names[n] != "fence":
                        state, began = "PENDING", -1
                elif began >= 0:
                    began = order.index(began)
                if back and began >= 0 and state != "UNDONE":
                    state = "EFFECT_UNKNOWN"
                steps.append((state, began))
            known = run._replace(steps=tuple(steps), proof="" if back else run.proof)
            self._bare[run] = known
        return known

    def mirrored(self, s: State) -> State:
        """The two drkits with their places changed: the same state, where they share all."""
        a, left = s.arbiter, s.left
        lease = None if a.lease is None else (1 - a.lease[0], a.lease[1])
        sent = tuple(
            each
            if each.sender < 0
            else each._replace(
                sender=1 - each.sender,
                waiter=None if each.waiter is None else (1 - each.waiter[0], each.waiter[1]),
            )
            for each in s.world.sent
        )
        return State(
            s.world._replace(sent=tuple(sorted(sent, key=repr))) if sent else s.world,
            a._replace(lease=lease, seen=(a.seen[1], a.seen[0])),
            tuple(
                run if run.claim is None else run._replace(claim=1 - run.claim) for run in s.runs
            ),
            (s.procs[1], s.procs[0]),
            s.mind,
            left._replace(crashes=(left.crashes[1], left.crashes[0])),
        )

    def leans(self, s: State, d: int) -> int:
        """Tells two drkits that do the same apart, whichever is called the first."""
        lease = s.arbiter.lease is not None and s.arbiter.lease[0] == d
        claims = tuple(run.claim == d for run in s.runs)
        sent = tuple((each.kind, each.arg, each.life, each.sender == d) for each in s.world.sent)
        return hash((s.arbiter.seen[d], lease, claims, sent))


def _outdone(p: Proc, *, waits: bool) -> Proc:
    """A process whose run another has taken writes nothing more down: it ends, but for a step whose
    intent is written, and which asks before it acts, and for a request that it waits for."""
    pcs = tuple(pc if pc[:1] == "I" else "" for pc in p.pcs)
    if p.held == "now" or any(pcs):
        return Proc(p.run, "walk", held=p.held, wait=p.wait, pcs=pcs)
    return Proc(p.run, "walk", held=p.held, pcs=pcs) if waits else Proc()
