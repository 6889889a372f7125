"""Rounds of the watch, decisions, operators, and what the world does by itself."""

from __future__ import annotations

from failover_model.base import Base, Moves
from failover_model.parts import PRIMARY, Broken, Proc, State

from drkit.coordination import decision as deciding
from drkit.coordination.decision import DecisionEvent, DecisionState, Facts
from drkit.health.interface import ServiceState
from drkit.runs.journal import opening


class Watching(Base):
    def facts(self, s: State, book: int) -> Facts:
        health = self.g.value(s.mind.health)
        witness = s.world.witness
        return self.g.facts(
            down=health.state is ServiceState.DOWN,
            ever_healthy=health.ever_healthy,
            answers=health.good_rounds > 0,
            blind=health.blind,
            flapping=health.flapping,
            seen_down=int(health.down_now) + int(witness and not self.serves(s)),
            seeing=int(not health.blind) + int(witness),
            leads=True,
            arbiter_reachable=s.arbiter.up,
            paused=s.mind.paused,
            open_run=bool(self.open_runs(s, book)),
            cooldown_left_s=60.0 * s.mind.cooldown,
            unattended_last_day=s.mind.unattended,
            unattended_last_week=s.mind.unattended,
            standby_proof_age_s=0.0 if self.bounds.mode == "auto" else None,
            fence_began=any(
                run.steps[self.g.number["fence"]][1] >= 0
                for run in s.runs
                if run.state not in self.g.ended
            ),
        )

    def round(self, s: State) -> Moves:
        """One round against who serves by the role record, and the decision weighed anew."""
        if not s.arbiter.up or not self.g.listens(s.mind.health):
            return
        _, named, run = s.arbiter.role
        site = self.g.serving(s.arbiter)
        good = s.world.primary if site == PRIMARY else bool(run is not None and self.boxes(s, run))
        seen = {"clear": "good" if good else "bad", "cut": "bad", "blind": "blind"}[s.world.sight]
        health = self.g.health_after(s.mind.health, seen, site == PRIMARY)
        after = self.weighed(s._replace(mind=s.mind._replace(health=health)))
        broken = None
        if site != named:
            broken = Broken("R2", f"{site} is probed, and {named} serves by the role record")
        if after != s or broken:
            yield f"a round of the watch: {seen}", after, broken

    def weighed(self, s: State, *, late: bool = False) -> State:
        facts = self.facts(s, self.book_of(0))
        decision = s.mind.decision
        if decision is not None and self.g.value(decision).state.ended:
            decision = None
        if decision is None and not facts.down:
            return s._replace(mind=s.mind._replace(decision=None))
        event = DecisionEvent.WEIGHED if facts.down else DecisionEvent.RECOVERED
        after = self.g.decided(decision, event, facts, late)
        return s._replace(mind=s.mind._replace(decision=after))

    def decision_state(self, s: State) -> DecisionState | None:
        decision = s.mind.decision
        return None if decision is None else self.g.value(decision).state

    def opens(self, s: State, d: int) -> Moves:
        """What the watch opens by itself right after it weighed, and what an operator types."""
        book = self.book_of(d)
        if len(s.runs) >= self.bounds.runs:
            return
        if self.bounds.mode == "auto" and d in self.watchers and s.mind.decision is not None:
            facts = self.facts(s, book)
            after = self.g.decided(s.mind.decision, DecisionEvent.WEIGHED, facts, False)
            if self.g.approved(after) == deciding.UNATTENDED:
                yield from self.opened(
                    s, d, facts, opening.Right.UNATTENDED, f"drkit {d} opens a run by itself"
                )
        if self.bounds.typed and s.left.acts:
            label = f"an operator types drkit failover on machine {d}"
            spent = self.spend(s, "acts")
            yield from self.opened(spent, d, None, opening.Right.TYPED, label)

    @property
    def watchers(self) -> tuple[int, ...]:
        """With one database each, the watch runs on the first machine."""
        return (0, 1) if self.bounds.shared else (0,)

    def opened(
        self, s: State, d: int, facts: Facts | None, right: opening.Right, label: str
    ) -> Moves:
        """One transaction (R4): what stands against it is read in it; one run is open at most."""
        book = self.book_of(d)
        if self.g.one_at_a_time and self.open_runs(s, book):
            return
        if not self.g.may_open(right, s.mind.paused, s.mind.cooldown, s.mind.unattended):
            return
        alone = right is opening.Right.UNATTENDED
        unattended = s.mind.unattended + alone
        after = s
        if facts is not None:
            after = s._replace(mind=s.mind._replace(decision=None, unattended=unattended))
        yield label, self.new_run(after, d), self.opened_wrongly(s, facts, right, book)

    def opened_wrongly(
        self, s: State, facts: Facts | None, right: opening.Right, book: int
    ) -> Broken | None:
        if self.open_runs(s, book):
            return Broken("R4", "a second run of the service was opened")
        if right is opening.Right.TYPED or facts is None:
            return None
        if s.mind.paused:
            return Broken("R4", "a run was opened although an operator paused")
        if right is opening.Right.APPROVED:
            return None
        if s.mind.cooldown:
            return Broken("R4", "nobody asked for a run, and one has just ended")
        if not facts.ever_healthy:
            return Broken("H3", "nobody asked for a run, and the service was never seen healthy")
        if facts.blind or facts.seeing < 2 or facts.seen_down < 2:
            return Broken("H3", "nobody asked for a run, and two vantage points do not say DOWN")
        return None

    def operator(self, s: State) -> Moves:
        if not s.left.acts:
            return
        spent = self.spend(s, "acts")
        if s.mind.decision is not None and len(s.runs) < self.bounds.runs:
            for d in self.watchers:
                facts = self.facts(s, self.book_of(d))
                after = self.g.decided(s.mind.decision, DecisionEvent.APPROVE, facts, False)
                if self.g.approved(after):
                    label = f"an operator approves on machine {d}, and a run is opened"
                    yield from self.opened(spent, d, facts, opening.Right.APPROVED, label)
        if not s.mind.paused and s.mind.decision is not None:
            mind = s.mind._replace(paused=True)
            yield "an operator pauses", spent._replace(mind=mind), None
        if s.mind.cooldown:
            mind = s.mind._replace(cooldown=False)
            yield "an operator acknowledges", spent._replace(mind=mind), None
        for d, p in enumerate(s.procs):
            if p.run is not None and p.phase == "walk":
                stopped = self.proc(spent, d, phase="stop", fate="interrupt")
                yield f"an operator stops the run on machine {d}", stopped, None

    def world(self, s: State) -> Moves:
        """The primary fails and comes back where somebody could see it: else it is the same."""
        w, left = s.world, s.left
        acting = [
            p for d, p in enumerate(s.procs) if p.run is not None and s.runs[p.run].claim == d
        ]
        seen = not acting or any(p.phase == "undo" for p in acting)
        if w.primary and left.falls and seen:
            yield (
                "the primary fails",
                self.spend(s, "falls")._replace(world=w._replace(primary=False)),
                None,
            )
        if not w.primary and left.returns and seen:
            yield (
                "the primary comes back",
                self.spend(s, "returns")._replace(world=w._replace(primary=True)),
                None,
            )
        if left.blinks:
            spent = self.spend(s, "blinks")
            if w.sight == "clear":
                for sight in ("cut", "blind"):
                    after = spent._replace(world=w._replace(sight=sight))
                    yield f"the watch's own network: {sight}", after, None
            if w.witness and self.bounds.mode == "auto":
                yield "the witness is silent", spent._replace(world=w._replace(witness=False)), None
        if w.sight != "clear":
            yield "the watch sees again", s._replace(world=w._replace(sight="clear")), None
        if s.arbiter.up and left.faults:
            yield (
                "the arbiter is out of reach",
                self.spend(s, "faults")._replace(arbiter=s.arbiter._replace(up=False)),
                None,
            )
        if not s.arbiter.up:
            yield "the arbiter is back", s._replace(arbiter=s.arbiter._replace(up=True)), None

    def time(self, s: State) -> Moves:
        """Only where somebody waits for it: what may arrive may arrive later too."""
        if not any(each.life == 1 for each in s.world.sent):
            after = self.tick(s)
            if after.arbiter != s.arbiter or after.procs != s.procs:
                yield "30 s pass", after, None
            if s.left.stalls and s.arbiter.up:
                for d, p in enumerate(s.procs):
                    if p.held == "now" and s.arbiter.lease == (d, p.run):
                        after = self.tick(self.spend(s, "stalls"), stalled=d)
                        yield f"30 s pass, and drkit {d} stands still", after, None
        if s.left.longs and not s.world.sent:
            after = self.long(self.spend(s, "longs"))
            if after.runs != s.runs or after.mind != s.mind:
                yield "an hour passes", after, None

    def tick(self, s: State, stalled: int | None = None) -> State:
        """What lives renews its lease meanwhile, in the background."""
        w, a = s.world, s.arbiter
        if w.sent:
            w = w._replace(sent=tuple(each._replace(life=each.life - 1) for each in w.sent))
        if a.lease is not None:
            d = a.lease[0]
            keeps = s.procs[d].held == "now" and s.procs[d].run == a.lease[1] and d != stalled
            if keeps and a.up and self.g.renewed(a, a.lease, "now"):
                a = a._replace(seen=(0, 0))
            else:
                a = a._replace(seen=(1, 1))
        procs = (_aged(s.procs[0]), _aged(s.procs[1]))
        return s._replace(world=w, arbiter=a, procs=procs)

    def long(self, s: State) -> State:
        for _ in range(4):
            s = self.tick(s)
        runs = tuple(run._replace(proof="stale") if run.proof == "fresh" else run for run in s.runs)
        health = self.g.calmed(s.mind.health)
        mind = s.mind._replace(paused=False, cooldown=False, health=health)
        s = s._replace(runs=runs, mind=mind)
        waits = self.decision_state(s) is DecisionState.WAIT_APPROVAL
        return self.weighed(s, late=True) if waits and s.arbiter.up else s


def _aged(p: Proc) -> Proc:
    if p.run is None or (p.wait == 0 and "K1" not in p.pcs and p.undo is None):
        return p
    pcs = tuple("K0" if pc == "K1" else pc for pc in p.pcs)
    undo = (p.undo[0], "K0") if p.undo and p.undo[1] == "K1" else p.undo
    return p._replace(wait=max(0, p.wait - 1), pcs=pcs, undo=undo)
