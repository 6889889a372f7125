"""Random lives of runs: a hypothesis state machine on the run world.

Probes fail and recover, operators open, resume, take back and pause runs on two machines,
processes are killed, stopped and continued at any turn, providers lose answers, list late and sell
out, switches and the arbiter go away, clocks are set, the old primary comes back. After each act
`run_rules` looks; at the end all is mended, every run is brought to its end, and it looks again.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from random_lives import live
from run_life import TROUBLES, WEATHER, WORDS, Life
from run_stack import Stack

SEQUENCES_A_ROUND = 25
RUNS = st.sampled_from(["failover", "failover", "failover elsewhere", "drill", "hold", "failback"])
MACHINES = st.sampled_from(["one", "two"])


class RunModel(RuleBasedStateMachine):
    """One life; `stack` and `folder` are set once for all."""

    stack: ClassVar[Stack]
    folder: ClassVar[Path]
    lives: ClassVar[int] = 0
    acts: ClassVar[int] = 0
    runs: ClassVar[int] = 0

    @initialize(number=st.integers(0, 1 << 30), what=RUNS, machine=MACHINES)
    def begin(self, number: int, what: str, machine: str) -> None:
        type(self).lives += 1
        self.life = Life(self.stack, self.folder / str(number), number)
        self.life.open_run(what, machine)

    @rule(what=RUNS, machine=MACHINES, starts=st.sampled_from([True, True, True, False]))
    def open_run(self, what: str, machine: str, starts: bool) -> None:
        self.life.open_run(what, machine, starts=starts)

    @rule(what=st.sampled_from(["rollback", "stop", "abort", "retarget", "skip"]))
    def ask(self, what: str) -> None:
        self.life.ask(what)

    @rule(turns=st.integers(1, 60))
    def work(self, turns: int) -> None:
        self.life.work(turns)

    @rule(seconds=st.sampled_from([1.0, 20.0, 100.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.life.time_passes(seconds)

    @rule(machine=MACHINES)
    def resume(self, machine: str) -> None:
        self.life.resume(machine)

    @rule(which=st.integers(0, 9), how=st.sampled_from(["kill", "kill", "stop", "go on", "tell"]))
    def signal(self, which: int, how: str) -> None:
        self.life.signal(which, how)

    @rule(which=st.integers(0, 9), turns=st.integers(1, 200))
    def overtaken(self, which: int, turns: int) -> None:
        self.life.overtaken(which, turns)

    @rule(writes=st.integers(0, 40))
    def dies_soon(self, writes: int) -> None:
        self.life.dies_soon(writes)

    @rule(machine=MACHINES, rounds=st.sampled_from([1, 4, 10]))
    def probe(self, machine: str, rounds: int) -> None:
        self.life.probe(machine, rounds)

    @rule(machine=MACHINES, word=st.sampled_from(WORDS))
    def say(self, machine: str, word: str) -> None:
        self.life.say(machine, word)

    @rule(machine=MACHINES, what=st.sampled_from(TROUBLES))
    def trouble(self, machine: str, what: tuple[str, str | float]) -> None:
        self.life.trouble(machine, *what)

    @rule(what=st.sampled_from(WEATHER))
    def weather(self, what: str) -> None:
        self.life.weather(what)

    @rule()
    def everything_works_again(self) -> None:
        self.life.world.heal()

    @invariant()
    def nothing_is_broken(self) -> None:
        if hasattr(self, "life"):
            type(self).acts += 1
            self.life.look()

    def teardown(self) -> None:
        if hasattr(self, "life"):
            try:
                self.life.conclude()
            finally:
                type(self).runs += len(self.life.world.drkits)
                self.life.over()


def live_round(number: int, *, lives: int = SEQUENCES_A_ROUND) -> int:
    """The lives of one round; how many there were."""
    before = RunModel.lives
    live(RunModel, number, lives=lives, steps=16)
    return RunModel.lives - before


def live_often(first: int, *, wanted: int) -> str:
    """At least so many lives, of rounds that begin with the number `first`; what was lived."""
    before = (RunModel.lives, RunModel.acts, RunModel.runs)
    while RunModel.lives - before[0] < wanted:
        live_round(first)
        first += 1
    after = (RunModel.lives, RunModel.acts, RunModel.runs)
    lives, acts, runs = (now - then for then, now in zip(before, after, strict=True))
    return f"{lives} sequences, {acts} acts, {runs} processes"
