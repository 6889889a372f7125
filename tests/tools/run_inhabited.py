"""While a run world is inhabited, drkit's own threads, chance and processes are the world's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from run_world import World
from simulated_threads import simulated_queue, simulated_threading

from drkit.cli.runs import following, running
from drkit.repository.copies import reading
from drkit.runs import engine, guard, lease, stepper, walk
from drkit.runs.book.plan import Plan
from drkit.runs.signals import StopRequest
from drkit.verify import model as asked_model
from drkit.wiring import leading
from drkit.wiring import run as wiring_run
from drkit.wiring import watch as wiring_watch
from drkit.wiring import witness as wiring_witness

SLICE_S = 10.0  # who is told to stop in mid-pause notices later, and far less often is asked


@contextmanager
def inhabited(world: World) -> Iterator[World]:
    sim = world.sim
    threads, results = simulated_threading(sim), simulated_queue(sim)
    real_walk = walk.Walk

    def make_walk(*arguments: Any, **named: Any) -> walk.Walk:
        return real_walk(*arguments, **named, _results=results.Queue())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk, "threading", threads)
        patch.setattr(walk, "monotonic", lambda: sim.now_s)
        patch.setattr(lease, "threading", threads)
        patch.setattr(guard, "_SLICE_S", SLICE_S)
        patch.setattr(engine, "Walk", make_walk)
        patch.setattr(engine, "stop_requests", lambda: _told(world))
        patch.setattr(stepper, "random", SimpleNamespace(Random=lambda *_seed: world.random))
        patch.setattr(reading, "_threads", SimpleNamespace(start=lambda work: work()))
        for module, name, stand_in in _asked_late(world):
            patch.setattr(module, name, stand_in)
        stand_ins = _stand_ins(world)
        for module, name in _imported(len(sys.modules), tuple(stand_ins)):
            patch.setattr(module, name, stand_ins[name](getattr(module, name)))
        try:
            yield world
        finally:
            world.end()


@lru_cache(maxsize=1)
def _imported(_modules: int, names: tuple[str, ...]) -> list[tuple[ModuleType, str]]:
    """Where drkit has one of these names; looked up again when more was imported."""
    modules = [each for name, each in sys.modules.items() if name.startswith("drkit.")]
    return [(module, name) for module in modules for name in names if hasattr(module, name)]


@contextmanager
def _told(world: World) -> Iterator[StopRequest]:
    assert world.sim.current is not None
    process = world.sim.current.process

    class Asked(StopRequest):
        @property
        def name(self) -> str | None:
            return process.told

        @name.setter
        def name(self, value: str | None) -> None:
            """Whoever asks sets `told`."""

    yield Asked()


def _asked_late(world: World) -> list[tuple[Any, str, Any]]:
    """What is imported from its own module when it is needed, and what would leave the process."""

    def start(_app: Any, _path: Any, run_id: str, *_words: str) -> None:
        world.execute(run_id, world.current().machine.name)

    def planned(_app: Any, runbook: str, *, kind: str, target: str) -> Plan:
        return world.plan(runbook, kind, target, world.current().machine.name)

    pid = SimpleNamespace(getpid=lambda: world.own_mark()[0])
    return [
        (asked_model, "ask_gateway", world.ask_gateway),
        (asked_model, "ask_as_user", world.ask_as_user),
        (leading, "os", pid),
        (wiring_watch, "reach", world.watching.reach),
        (wiring_watch, "load_runbook", lambda path: world.stack.runbooks[path.stem]),
        (wiring_witness, "hear_witnesses", world.watching.hear),
        (wiring_run, "open_journal", lambda app: world.journal(app.drkit)),
        (wiring_run, "runs_in_stores", lambda _app: world.sealed()),
        (following, "start_process", start),
        (running, "plan_run", planned),
    ]


def _stand_ins(world: World) -> Mapping[str, Callable[[Any], Any]]:
    """Names that any module of drkit may have imported, and what stands for them."""

    def proved(prove: Any) -> Any:
        def told(call: Any, context: Any) -> Any:
            endpoint, proofs = prove(call, context)
            world.rules.proved(endpoint.url)
            return endpoint, proofs

        return told

    return {
        "own_mark": lambda _real: world.own_mark,
        "lives": lambda _real: world.lives,
        "prove_target": proved,
    }
