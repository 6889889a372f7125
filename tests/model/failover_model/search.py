"""Breadth-first over every reachable state: what breaks first is broken in the fewest steps."""

from __future__ import annotations

import gc
import random
import re
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from failover_model.guards import Guards
from failover_model.parts import Arbiter, Bounds, Broken, Left, Mind, Proc, State, World
from failover_model.undoing import Providing
from failover_model.watching import Watching

LONGEST_WALK = 150
WAITING = ("NEEDS_OPERATOR", "ROLLBACK_FAILED")


class Model(Watching, Providing):
    def first(self) -> State:
        b = self.bounds
        left = Left(
            b.falls, b.returns, b.faults, b.acts, b.crashes, b.stalls, b.blinks, b.longs, b.runs
        )
        mind = Mind(self.g.begin_health(b.known), None)
        world = World(primary=b.known)
        return State(world, Arbiter(), (), (Proc(), Proc()), mind, left)

    def moves(self, s: State) -> Iterator[tuple[str, State, Broken | None]]:
        over = len(s.runs) == self.bounds.runs and not s.world.sent
        if over and all(run.state in self.g.ended for run in s.runs):
            return  # nothing more can be opened
        if urgent := self.urgent(s):
            yield from urgent
            return
        for d in (0, 1):
            yield from self.process(s, d)
            p = s.procs[d]
            if p.run is None:
                yield from self.opens(s, d)
            elif p.phase == "undo" and s.runs[p.run].claim == d:
                yield from self.undoes(s, d)
        yield from self.arrivals(s)
        yield from self.round(s)
        yield from self.operator(s)
        yield from self.world(s)
        yield from self.time(s)

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
        """Tells the two drkits apart, whichever is called the first."""
        lease = s.arbiter.lease is not None and s.arbiter.lease[0] == d
        claims = tuple(run.claim == d for run in s.runs)
        sent = tuple((each.kind, each.arg, each.life, each.sender == d) for each in s.world.sent)
        return hash((s.procs[d], s.arbiter.seen[d], s.left.crashes[d], lease, claims, sent))

    def canonical(self, s: State) -> tuple[State, bool]:
        if self.bounds.shared and self.leans(s, 0) > self.leans(s, 1):
            return self.mirrored(s), True
        return s, False


@dataclass(slots=True)
class Found:
    """What a search saw. `trace`: the fewest steps to `broken`, in words."""

    bounds: Bounds
    states: int = 0
    moves: int = 0
    depth: int = 0
    seconds: float = 0.0
    whole: bool = True
    broken: Broken | None = None
    trace: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        how = "all" if self.whole else "stopped after"
        text = (
            f"{how} {self.states:,} states, {self.moves:,} moves, depth {self.depth}, "
            f"{self.seconds:.1f} s"
        )
        if self.broken:
            steps = "\n".join(f"  {n:2}. {step}" for n, step in enumerate(self.trace, 1))
            text += f"\n{self.broken.rule} is broken: {self.broken.why}\n{steps}"
        return text


def search(
    bounds: Bounds, *, most_states: int = 10**9, most_s: float = 1e9, graph: bool = False
) -> Found:
    """Every state that can be reached, until a rule breaks. `graph`: dead ends are looked for too:
    states with an open run from which it can neither end nor wait for an operator.
    """
    gc.disable()  # millions of tuples without a cycle: looking through them takes most of the time
    try:
        return _Search(bounds).run(most_states, time.monotonic() + most_s, graph)
    finally:
        gc.enable()


def walks(bounds: Bounds, *, number: int, seed: int) -> Found:
    """Ways through states that are too many to be searched, each move drawn, to the end."""
    rng, started = random.Random(seed), time.monotonic()
    model, found, seen = Model(Guards(bounds), bounds), Found(bounds, whole=False), set[int]()
    for _ in range(number):
        s, way = model.first(), list[str]()
        while moves := list(model.moves(s)):
            label, s, broken = rng.choice(moves)
            way.append(label)
            seen.add(hash(s))
            found.moves += 1
            if broken is not None:
                found.broken, found.trace = broken, way
                break
            if len(way) >= LONGEST_WALK:
                break
        found.depth = max(found.depth, len(way))
        if found.broken:
            break
    found.states, found.seconds = len(seen), time.monotonic() - started
    return found


class _Search:
    def __init__(self, bounds: Bounds) -> None:
        self.model = Model(Guards(bounds), bounds)
        self.found = Found(bounds)
        self.number: dict[State, int] = {}
        # Of each state: the one it was first reached from, in which words, and under other names?
        self.parents, self.words, self.flips = array("l"), array("l"), bytearray()
        self.spoken: dict[str, int] = {}
        self.parts: dict[object, object] = {}
        self.edges = (array("l"), array("l"))

    def run(self, most_states: int, end_s: float, graph: bool) -> Found:
        found, started = self.found, time.monotonic()
        level = [self.reached(self.model.canonical(self.model.first())[0], 0, "", False)]
        while level and found.broken is None and found.whole:
            following: list[State] = []
            for s in level:
                self.expand(s, following, graph)
                if found.broken is not None:
                    break
                if len(self.number) > most_states or time.monotonic() > end_s:
                    found.whole = False
                    break
            else:
                found.depth += bool(following)
                level = following
        found.states = len(self.number)
        if graph and found.whole and found.broken is None:
            self.look_for_dead_ends()
        found.seconds = time.monotonic() - started
        return found

    def expand(self, s: State, following: list[State], graph: bool) -> None:
        n, found = self.number[s], self.found
        label = "nothing was done yet"
        try:
            for label, after, broken in self.model.moves(s):
                found.moves += 1
                if broken is not None:
                    self.break_at(n, label, broken)
                    return
                after, flipped = self.model.canonical(after)
                if after not in self.number:
                    following.append(self.reached(after, n, label, flipped))
                if graph:
                    self.edges[0].append(n)
                    self.edges[1].append(self.number[after])
        except ValueError as error:
            self.break_at(n, f"after: {label}", Broken("handler", str(error)))

    def reached(self, s: State, parent: int, label: str, flipped: bool) -> State:
        s = State(*[self.parts.setdefault(part, part) for part in s])  # type: ignore[arg-type]
        self.number[s] = len(self.number)
        self.parents.append(parent)
        self.words.append(self.spoken.setdefault(label, len(self.spoken)))
        self.flips.append(flipped)
        return s

    def break_at(self, n: int, label: str, broken: Broken) -> None:
        *steps, last, why = [*self.way_to(n), label, broken.why]
        swapped = self.swapped(n)
        self.found.depth += 1
        self.found.trace = [*steps, _called(last, swapped)]
        self.found.broken = Broken(broken.rule, _called(why, swapped))

    def back_from(self, n: int) -> list[int]:
        way = []
        while n:
            way.append(n)
            n = self.parents[n]
        return way[::-1]

    def swapped(self, n: int) -> bool:
        return bool(sum(self.flips[each] for each in self.back_from(n)) % 2)

    def way_to(self, n: int) -> list[str]:
        """The fewest steps to state `n`, in which each drkit is called by one name throughout."""
        spoken, steps, swapped = list(self.spoken), [], False
        for each in self.back_from(n):
            steps.append(_called(spoken[self.words[each]], swapped))
            swapped ^= bool(self.flips[each])
        return steps

    def look_for_dead_ends(self) -> None:
        """Backwards from every state in which no run is open, or one waits for an operator."""
        before: dict[int, list[int]] = {}
        for source, target in zip(*self.edges, strict=True):
            before.setdefault(target, []).append(source)
        ended = self.model.g.ended
        good = [
            n
            for s, n in self.number.items()
            if all(run.state in ended or run.state in WAITING for run in s.runs)
        ]
        alive = bytearray(len(self.number))
        while good:
            n = good.pop()
            if not alive[n]:
                alive[n] = 1
                good += [each for each in before.get(n, ()) if not alive[each]]
        dead = [n for n in range(len(alive)) if not alive[n]]
        if dead:
            self.found.broken = Broken("dead end", f"{len(dead)} states lead nowhere")
            self.found.trace = self.way_to(dead[0])


_NAMES = re.compile(r"(drkit|machine) ([01])")


def _called(step: str, swapped: bool) -> str:
    return _NAMES.sub(lambda m: f"{m[1]} {1 - int(m[2])}", step) if swapped else step
