"""A process of drkit in the run world, and its hold on the state: it may die before any write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from simulated_threads import Dead, MachineClock, Process, Task
from sqlalchemy import Connection

from drkit.health.witness.asking import Voice
from drkit.runs.book.plan import Plan
from drkit.runs.journal import journal
from drkit.runs.journal.journal import Journal
from drkit.runs.journal.sealing import Copy
from drkit.runs.records import RunRecord
from drkit.state.database import Database

if TYPE_CHECKING:
    from run_world import World


@dataclass(eq=False)
class Drkit(Process):
    """A process that executes a run. It dies before its `dies_before_write`-th write to the
    journal, or at the breakpoint (step, point), and is stopped once at `stops_at`.
    """

    run_id: str = ""
    dies_at: tuple[str, str] | None = None
    stops_at: tuple[str, str] | None = None
    dies_before_write: int | None = None
    writes: int = 0
    task: Task | None = None
    saw_nothing: bool = False
    heard: Voice | None = None

    @property
    def holder(self) -> str:
        return f"{self.machine.name}/{self.run_id}"

    @property
    def error(self) -> BaseException | None:
        return self.task.error if self.task is not None else None


class JudgedJournal(Journal):
    """A journal whose runs are judged when they are opened."""

    def __init__(
        self, world: World, drkit: Drkit, database: Database, clock: MachineClock, copy: Copy
    ) -> None:
        super().__init__(database, clock, copy, machine=drkit.machine.name)
        self._world = world
        self._drkit = drkit

    def open_run(self, plan: Plan, **how: Any) -> RunRecord:
        with pytest.MonkeyPatch.context() as patch:  # the same story has the same ids
            number = self._world.sim.new_pid()
            counted = SimpleNamespace(token_hex=lambda _bytes: f"{number:06x}")
            patch.setattr(journal, "secrets", counted)
            run = super().open_run(plan, **how)
        self._world.rules.opened(self._drkit, run, how.get("opener"))
        return run


class ProcessDatabase(Database):
    """The state in the hands of one process, which may die before any of its writes."""

    def __init__(self, world: World, drkit: Drkit, clock: MachineClock) -> None:
        self._state = world.databases[drkit.machine.name]
        super().__init__(self._state._engine, clock)
        self._world = world
        self._drkit = drkit

    @contextmanager
    def write(self) -> Iterator[Connection]:
        drkit = self._drkit
        if drkit.dies_before_write == drkit.writes:
            self._world.sim.kill(drkit)
        if drkit.dead:
            raise Dead
        with self._state.write() as connection:
            yield connection
        drkit.writes += 1

    @contextmanager
    def read(self) -> Iterator[Connection]:
        if self._drkit.dead:
            raise Dead
        with self._state.read() as connection:
            yield connection
