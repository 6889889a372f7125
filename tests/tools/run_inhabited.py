"""While a run world is inhabited, drkit's own threads, chance and processes are the world's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from run_world import World
from simulated_threads import simulated_queue, simulated_threading

from drkit.runs import engine, guard, lease, stepper, walk
from drkit.runs.signals import StopRequest
from drkit.verify import model as asked_model

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
        # These are imported late, from their own module.
        patch.setattr(asked_model, "ask_gateway", world.ask_gateway)
        patch.setattr(asked_model, "ask_as_user", world.ask_as_user)
        for module in [each for name, each in sys.modules.items() if name.startswith("drkit.")]:
            for name, stand_in in _stand_ins(world).items():
                if hasattr(module, name):
                    patch.setattr(module, name, stand_in(getattr(module, name)))
        try:
            yield world
        finally:
            world.end()


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
