"""Breadth-first over every reachable state: what breaks first is broken in the fewest steps."""

from __future__ import annotations

import gc
import random
import re
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from failover_model.alike import Alike
from failover_model.budget import Budget
from failover_model.guards import Guards
from failover_model.parts import Arbiter, Bounds, Broken, Left, Mind, Proc, State, World
from failover_model.undoing import Providing
from failover_model.watching import Watching

LONGEST_WALK = 150
WAITING = ("NEEDS_OPERATOR", "ROLLBACK_FAILED")
_BITS = 20
_MASK = (1 << _BITS) - 1
_MASKS = [_MASK << _BITS * place for place in range(5)]


class Model(Watching, Providing, Alike):
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


@dataclass(slots=True)
class Found:
    """What a search saw. `states`: whatever is left in them; `lefts`: each with everything that may
    be left in it. `trace`: the fewest steps to `broken`, in words."""

    bounds: Bounds
    states: int = 0
    lefts: int = 0
    moves: int = 0
    depth: int = 0
    seconds: float = 0.0
    whole: bool = True
    broken: Broken | None = None
    trace: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        how = "all" if self.whole else "stopped after"
        each = f" ({self.lefts:,} with what may still happen)" if self.lefts else ""
        text = (
            f"{how} {self.states:,} states{each}, {self.moves:,} moves, depth {self.depth}, "
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
    states with an open run that neither ends nor waits for an operator if nothing more happens.
    """
    gc.disable()  # millions of tuples without a cycle: looking through them takes most of the time
    try:
        return Search(bounds).run(most_states, most_s, graph)
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


@dataclass
class _BrokenAt(Exception):
    """In state `n`, with something left that is in `payers` (-1: anything)."""

    n: int
    payers: int
    label: str
    broken: Broken


class Search:
    """States are numbered as they are met, without what is left; of each are kept its moves, and
    the set of what may still be left in it (`Budget`), which grows until it grows no more."""

    def __init__(self, bounds: Bounds) -> None:
        self.model = Model(Guards(bounds), bounds)
        self.budget = Budget(bounds)
        self.found = Found(bounds)
        self.numbers: tuple[dict[Any, int], ...] = ({}, {}, {}, {}, {})
        self.parts: tuple[list[Any], ...] = ([], [], [], [], [])
        self.number: dict[int, int] = {}
        self.packed: list[int] = []
        self.reached: list[int] = []
        # Where the moves of each state begin: to which states, at which price (-1 is their end);
        # odd, where the drkits change names.
        self.first, self.expanded = array("q"), array("i")
        self.targets, self.prices = array("i"), array("i")
        self.threats: dict[int, list[tuple[int, str, Broken]]] = {}

    def run(self, most_states: int = 10**9, most_s: float = 1e9, graph: bool = False) -> Found:
        found, started = self.found, time.monotonic()
        try:
            for depth, level in enumerate(self.levels()):
                found.depth = depth
                if len(self.expanded) > most_states or time.monotonic() > started + most_s:
                    found.whole = False
                    break
                del level
        except _BrokenAt as at:
            self.tell(at)
        found.states, found.moves = len(self.expanded), len(self.targets) - len(self.expanded)
        found.lefts = sum(lefts.bit_count() for lefts in self.reached)
        if graph and found.whole and found.broken is None:
            self.look_for_dead_ends()
        found.seconds = time.monotonic() - started
        return found

    def levels(self) -> Iterator[dict[int, int]]:
        """For each number of moves the states that so many lead to, and what may then be left that
        could not be before. Whoever asks for the next changes nothing in the last."""
        first = self.model.first()
        start = self.met(self.model.canonical(first)[0])
        level = {start: self.budget.within(first.left)}
        self.reached = [0] * len(self.packed)
        self.reached[start] = level[start]
        swapped, paid, reached = self.budget.swapped, self.budget.prices, self.reached
        while level:
            yield level
            following: dict[int, int] = {}
            for n, lefts in level.items():
                if self.first[n] < 0:
                    self.expand(n, lefts)
                elif n in self.threats:
                    self.look_at_threats(n, lefts)
                at = self.first[n]
                while (target := self.targets[at]) >= 0:
                    price = self.prices[at]
                    at += 1
                    by, payers = paid[price >> 1]
                    some = (lefts & payers) >> by
                    if not some:
                        continue
                    if price & 1:
                        some = swapped(some)
                    known = reached[target]
                    if more := some & ~known:
                        reached[target] = known | more
                        following[target] = following.get(target, 0) | more
            level = following

    def expand(self, n: int, lefts: int) -> None:
        first, label = len(self.targets), "nothing was done yet"
        try:
            before = self.state(n)
            for label, after, broken in self.model.moves(before):
                price = self.budget.price(after.left)
                if broken is not None:
                    self.threats.setdefault(n, []).append((price, label, broken))
                    continue
                after, flipped = self.model.canonical(after, before)
                self.targets.append(self.met(after, before, n))
                self.prices.append(price << 1 | flipped)
        except ValueError as error:
            raise _BrokenAt(n, -1, f"after: {label}", Broken("handler", str(error))) from None
        self.targets.append(-1)
        self.prices.append(-1)
        self.first[n] = first
        self.expanded.append(n)
        if n in self.threats:
            self.look_at_threats(n, lefts)

    def look_at_threats(self, n: int, lefts: int) -> None:
        for price, label, broken in self.threats[n]:
            if self.budget.paid(lefts, price):
                raise _BrokenAt(n, self.budget.prices[price][1], label, broken)

    def met(self, s: State, before: State | None = None, of: int = 0) -> int:
        """The number of `s`, whatever is left in it. `before`: a state whose number is `of`."""
        packed, known = 0, self.packed[of] if before is not None else 0
        for place, part in enumerate(s[:-1]):
            if before is not None and part is before[place]:
                packed |= known & _MASKS[place]
                continue
            numbers, parts = self.numbers[place], self.parts[place]
            if (number := numbers.get(part)) is None:
                number = numbers[part] = len(parts)
                parts.append(part)
            packed |= number << _BITS * place
        if (n := self.number.get(packed)) is None:
            n = self.number[packed] = len(self.packed)
            self.packed.append(packed)
            self.reached.append(0)
            self.first.append(-1)
        return n

    def state(self, n: int) -> State:
        packed = self.packed[n]
        parts = [parts[packed >> _BITS * place & _MASK] for place, parts in enumerate(self.parts)]
        return State(*parts, self.budget.most)

    # the way to what is broken

    def tell(self, at: _BrokenAt) -> None:
        """The fewest moves to it, in which each drkit is called by one name throughout."""
        way: list[tuple[int, int]] = []
        wanted, n = at.payers, at.n
        for level in reversed(self.levels_before(at)):
            source, price = self.came_from(level, n, wanted)
            way.append((source, n))
            by, payers = self.budget.prices[price >> 1]
            wanted = self.budget.swapped(wanted) if price & 1 else wanted
            wanted, n = wanted << by & payers & level[source], source
        steps, swapped = [], False
        for source, target in reversed(way):
            for label, after, broken in self.model.moves(self.state(source)):
                after, flipped = self.model.canonical(after)
                if broken is None and self.met(after) == target:
                    steps.append(_called(label, swapped))
                    swapped ^= flipped
                    break
        self.found.depth = len(steps) + 1
        self.found.trace = [*steps, _called(at.label, swapped)]
        self.found.broken = Broken(at.broken.rule, _called(at.broken.why, swapped))

    def levels_before(self, at: _BrokenAt) -> list[dict[int, int]]:
        """Those before the one that `at` broke in, over again; the last is that one's sources."""
        before: list[dict[int, int]] = []
        for level in self.levels():
            if level.get(at.n, 0) & at.payers:
                at.payers &= level[at.n]
                return before
            before.append(level)
        raise AssertionError("what broke was not met again")

    def came_from(self, level: dict[int, int], n: int, wanted: int) -> tuple[int, int]:
        """A state of `level`, and the price, from which `n` is reached with one of `wanted`."""
        for source, lefts in level.items():
            for target, price in self.moves_of(source):
                if target == n:
                    some = self.budget.paid(lefts, price >> 1)
                    if (self.budget.swapped(some) if price & 1 else some) & wanted:
                        return source, price
        raise AssertionError("nothing led to it")

    def moves_of(self, n: int) -> Iterator[tuple[int, int]]:
        at = self.first[n]
        while at >= 0 and self.targets[at] >= 0:
            yield self.targets[at], self.prices[at]
            at += 1

    def look_for_dead_ends(self) -> None:
        """Backwards from every state in which no run is open, or one waits for an operator, along
        moves that cost nothing: whatever is left, and if nothing more happens."""
        counts = np.diff([*(self.first[n] for n in self.expanded), len(self.targets)])
        sources = np.repeat(np.frombuffer(self.expanded, np.int32), counts)
        targets, prices = (
            np.frombuffer(self.targets, np.int32),
            np.frombuffer(self.prices, np.int32),
        )
        free = np.array([by == 0 for by, _ in self.budget.prices])
        kept = (targets >= 0) & free[prices >> 1]
        sources, targets = sources[kept], targets[kept]
        ended = self.model.g.ended
        good = [
            all(run.state in ended or run.state in WAITING for run in runs)
            for runs in self.parts[2]
        ]
        alive = np.array([good[packed >> 2 * _BITS & _MASK] for packed in self.packed])
        while (more := sources[alive[targets] & ~alive[sources]]).size:
            alive[more] = True
        if dead := [n for n in self.expanded if not alive[n]]:
            self.tell(_BrokenAt(dead[0], -1, "", Broken("dead end", f"{len(dead)} lead nowhere")))


_NAMES = re.compile(r"(drkit|machine) ([01])")


def _called(step: str, swapped: bool) -> str:
    return _NAMES.sub(lambda m: f"{m[1]} {1 - int(m[2])}", step) if swapped else step
