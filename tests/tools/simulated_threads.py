"""Threads, pauses and time of several processes, one step after the other: same seed, same story.

Every simulated thread is a real one that runs only while it has the turn. It gives it back where
it sleeps, waits, or calls `switch`; who is next is drawn. When all sleep, the time jumps to the
first that wakes. A process can be killed (its threads end where they stand, and whatever they
still try raises `Dead`), stopped, and continued, as SIGKILL, SIGSTOP and SIGCONT do.
"""

from __future__ import annotations

import heapq
import queue
import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

START = datetime(2026, 1, 1, tzinfo=UTC)
MOST_TURNS = 200_000


class Dead(BaseException):
    """The process was killed; nothing of it happens any more."""


@dataclass(eq=False)
class Machine:
    """A computer: its wall clock may be wrong, its own count of time never jumps."""

    name: str
    skew_s: float = 0.0
    booted_s: float = 0.0


@dataclass(eq=False)
class Process:
    machine: Machine
    pid: int
    dead: bool = False
    stopped: bool = False
    told: str | None = None  # the signal that asked it to end
    tasks: list[Task] = field(default_factory=list)

    @property
    def mark(self) -> str:
        return f"{self.machine.name}-{self.pid}"

    @property
    def over(self) -> bool:
        return all(task.over for task in self.tasks)


def _taken_lock() -> threading.Lock:
    """A turn: who acquires it waits until somebody else releases it."""
    lock = threading.Lock()
    lock.acquire()
    return lock


class Task:
    """One thread of a process, or its main one."""

    def __init__(self, sim: Simulation, process: Process, target: Callable[[], Any]) -> None:
        self.process = process
        self.over = False
        self.result: Any = None
        self.error: BaseException | None = None
        self._sim = sim
        self._target = target
        self._turn = _taken_lock()
        self._until: Callable[[], bool] | None = None
        self._wakes_s: float | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        process.tasks.append(self)
        sim.tasks.append(self)
        self._thread.start()

    def ready(self, now_s: float) -> bool:
        if self.process.stopped and not self.process.dead:
            return False
        if self.process.dead or (self._until is None and self._wakes_s is None):
            return True
        if self._until is not None and self._until():
            return True
        return self._wakes_s is not None and self._wakes_s <= now_s

    @property
    def wakes_s(self) -> float | None:
        return None if self.process.stopped else self._wakes_s

    def take_turn(self) -> None:
        """Called by the simulation: returns when the thread gives the turn back."""
        self._turn.release()
        self._sim.back.acquire()

    def give_turn(self, until: Callable[[], bool] | None, wakes_s: float | None) -> None:
        """Called by the thread: returns when it has the turn again. Raises `Dead`."""
        self.process_lives()
        self._until, self._wakes_s = until, wakes_s
        self._sim.back.release()
        self._turn.acquire()
        self._until = self._wakes_s = None
        self.process_lives()

    def process_lives(self) -> None:
        if self.process.dead:
            raise Dead

    def _work(self) -> None:
        self._turn.acquire()
        try:
            self.process_lives()
            self.result = self._target()
        except BaseException as error:
            self.error = error
        self.over = True
        self._sim.back.release()


class Simulation:
    """All processes, and the only time there is: `now_s` since the beginning."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.now_s = 0.0
        self.tasks: list[Task] = []
        self.back = _taken_lock()
        self.current: Task | None = None
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_count = 0
        self._pids = 100

    def new_pid(self) -> int:
        self._pids += 1
        return self._pids

    def start(self, process: Process, target: Callable[[], Any]) -> Task:
        return Task(self, process, target)

    def run(
        self,
        until: Callable[[], bool] = lambda: False,
        *,
        ends_s: float = 1e12,
        turns: int = MOST_TURNS,
    ) -> None:
        """Lets everybody do what they do, until `until`, `ends_s`, `turns` are over, or nobody can
        do anything.
        """
        assert self.current is None, "a simulated thread cannot run the simulation"
        for _ in range(turns):
            if until():
                return
            ready = [task for task in self.tasks if task.ready(self.now_s)]
            if ready:
                self._let(self.random.choice(ready))
            elif not self._jump(ends_s):
                return
        assert turns < MOST_TURNS, "this never ends"

    def kill(self, process: Process) -> None:
        """Ends every thread of it now. May be called by one of them, which has to raise `Dead`."""
        process.dead = True
        if self.current is not None:
            return
        for task in [each for each in process.tasks if not each.over]:
            self._let(task)
            assert task.over, "a dead process goes on"

    def later(self, in_s: float, do: Callable[[], None]) -> None:
        """`do` happens by itself: a request that is on its way arrives."""
        self._timer_count += 1
        heapq.heappush(self._timers, (self.now_s + in_s, self._timer_count, do))

    def switch(self) -> None:
        """Others may come between; a caller that is no simulated thread goes on at once."""
        if self.current is not None:
            self.current.give_turn(None, None)

    def wait(self, until: Callable[[], bool] | None, timeout_s: float | None) -> None:
        wakes_s = None if timeout_s is None else self.now_s + timeout_s
        if self.current is not None:
            self.current.give_turn(until, wakes_s)
        elif wakes_s is not None:
            self.run(until or (lambda: False), ends_s=wakes_s)

    def end(self) -> None:
        """Kills whatever is left, so that no thread outlives the test."""
        for process in {task.process for task in self.tasks}:
            self.kill(process)

    def _let(self, task: Task) -> None:
        self.current = task
        task.take_turn()
        self.current = None
        if task.over:
            self.tasks.remove(task)

    def _jump(self, ends_s: float) -> bool:
        """To the next moment at which something happens; False when there is none in time."""
        wakes = [task.wakes_s for task in self.tasks if task.wakes_s is not None]
        wakes += [self._timers[0][0]] if self._timers else []
        to_s = min(wakes, default=float("inf"))
        if to_s > ends_s:
            self.now_s = max(self.now_s, ends_s) if ends_s < 1e12 else self.now_s
            return False
        self.now_s = max(self.now_s, to_s)
        while self._timers and self._timers[0][0] <= self.now_s:
            heapq.heappop(self._timers)[2]()
        return True


class MachineClock:
    """`Clock` of a machine."""

    def __init__(self, sim: Simulation, machine: Machine) -> None:
        self._sim = sim
        self._machine = machine

    def now(self) -> datetime:
        return START + timedelta(seconds=self._sim.now_s + self._machine.skew_s)

    def elapsed_s(self) -> float:
        return self._sim.now_s - self._machine.booted_s

    def sleep(self, seconds: float) -> None:
        self._sim.wait(None, max(0.0, seconds))


class _Queue:
    """`queue.Queue`, with `get` in simulated time. An idle tick lasts at least `tick_s`, because
    each one reads the journal.
    """

    def __init__(self, sim: Simulation, tick_s: float) -> None:
        self._sim = sim
        self._tick_s = tick_s
        self._items: deque[Any] = deque()

    def put(self, item: Any) -> None:
        self._items.append(item)

    def get(self, timeout: float) -> Any:
        self._sim.wait(lambda: bool(self._items), max(timeout, self._tick_s))
        if not self._items:
            raise queue.Empty
        return self._items.popleft()


class _Event:
    def __init__(self, sim: Simulation) -> None:
        self._sim = sim
        self._set = False

    def set(self) -> None:
        self._set = True

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        self._sim.wait(lambda: self._set, timeout)
        return self._set


class _Thread:
    def __init__(self, sim: Simulation, target: Callable[[], None]) -> None:
        self._sim = sim
        self._target = target
        self._task: Task | None = None

    def start(self) -> None:
        current = self._sim.current
        assert current is not None
        current.process_lives()
        self._task = self._sim.start(current.process, self._target)

    def join(self, timeout: float | None = None) -> None:
        task = self._task
        if task is not None:
            self._sim.wait(lambda: task.over, timeout)

    def is_alive(self) -> bool:
        return self._task is not None and not self._task.over


def simulated_threading(sim: Simulation) -> SimpleNamespace:
    """What stands for the module `threading` in code whose threads are to be simulated."""
    return SimpleNamespace(
        Thread=lambda target, name="", daemon=True: _Thread(sim, target),
        Event=lambda: _Event(sim),
        Lock=threading.Lock,
        current_thread=threading.current_thread,
        main_thread=threading.main_thread,
    )


def simulated_queue(sim: Simulation, *, tick_s: float = 20.0) -> SimpleNamespace:
    """What stands for the module `queue`."""
    return SimpleNamespace(Queue=lambda: _Queue(sim, tick_s), Empty=queue.Empty)
