"""What a run acts on, as one process of the run world sees it: everything is recorded, and fails.

A call takes time, and what it asks for happens somewhere within that time or after the caller gave
up, but never later than the longest request; so it also happens when the caller was killed
meanwhile. What must never be is noted in `broken` at the moment at which it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from simulated_threads import Dead

from drkit.clock import Clock
from drkit.compute.interface import (
    ComputeError,
    EffectUnknown,
    Endpoint,
    Fault,
    Instance,
    InstanceState,
    LaunchSpec,
    Offer,
    Still,
    at_will,
)
from drkit.compute.memory import MemoryCompute
from drkit.coordination.arbiter import Step
from drkit.coordination.interface import ArbiterUnreachable
from drkit.coordination.memory import MemoryPlace
from drkit.coordination.rules import ServiceState
from drkit.health.interface import Observation
from drkit.health.memory import observation
from drkit.io_policy import LONGEST_EFFECT_S
from drkit.traffic.apply import apply_plan
from drkit.traffic.interface import Setting, SwitchFailed, SwitchPlan
from drkit.traffic.memory import MemorySwitch

if TYPE_CHECKING:
    from run_world import Drkit, World


@dataclass(frozen=True, slots=True)
class Done:
    """An effect: when it was asked for, by which process, for which run."""

    at_s: float
    process: str
    run_id: str
    kind: str
    what: str


class Provider:
    """The accounts at all targets: what is really there, and how the next creates end.

    `answers`: "lost" (it exists, the caller never hears of it), "late" (the same, and it exists
    only shortly before the longest request ends), "never" (no answer and nothing), or a fault's
    name. `lag_s`: how long an instance exists before it is listed. `dumb`: run and never answer.
    """

    def __init__(self, clock: Clock, targets: Sequence[str]) -> None:
        self._accounts = {target: MemoryCompute(clock) for target in targets}
        self._made: dict[str, str] = {}
        self.answers: deque[str] = deque()
        self.lag_s = 0.0
        self.down = False
        self.listed_s: dict[str, float] = {}
        self.dumb: set[str] = set()

    def begin_like(self, other: Provider) -> None:
        self._made = dict(other._made)
        self.listed_s = dict(other.listed_s)
        for target, account in self._accounts.items():
            account._instances = dict(other._accounts[target]._instances)

    def account(self, target: str) -> MemoryCompute:
        return self._accounts[target]

    def make(self, target: str, offer: Offer, spec: LaunchSpec, tags: Mapping[str, str]) -> str:
        """A new instance, with an id and an address that no other account has; its id."""
        account = self._accounts[target]
        made = account.create(offer, spec, tags)
        number = len(self._made) + 1
        named = replace(
            account._instances.pop(made.id),
            id=f"{target}-{number}",
            endpoint=Endpoint("http", f"192.0.2.{number}", spec.port),
        )
        account._instances[named.id] = named
        self._made[named.id] = target
        return named.id

    def instance(self, instance_id: str) -> Instance:
        return self._accounts[self._made[instance_id]].get(instance_id)

    def every(self) -> list[Instance]:
        """What ever was there, the oldest first."""
        return [self.instance(instance_id) for instance_id in self._made]

    def alive(self) -> list[Instance]:
        return [each for each in self.every() if each.state is not InstanceState.GONE]

    def dies(self, instance_id: str) -> None:
        self._accounts[self._made[instance_id]].set_state(instance_id, InstanceState.FAILED)

    def answers_at(self, url: str) -> bool:
        return any(
            each.endpoint is not None and each.endpoint.url == url
            for each in self.alive()
            if each.state is InstanceState.RUNNING and each.id not in self.dumb
        )


class ProcessCompute:
    """`Compute` in the hands of one process."""

    def __init__(self, world: World, process: Drkit, target: str) -> None:
        self._world = world
        self._process = process
        self._provider = world.provider
        self._target = target
        self._account = world.provider.account(target)

    def preflight(self) -> Sequence[Any]:
        self._call()
        return ()

    def offers(self, candidates: Sequence[Any]) -> Sequence[Offer]:
        self._call()
        return self._account.offers(candidates)

    def find(self, tags: Mapping[str, str]) -> Sequence[Instance]:
        self._call()
        now_s = self._world.sim.now_s
        found = self._account.find(tags)
        return [each for each in found if self._provider.listed_s.get(each.id, 0.0) <= now_s]

    def get(self, instance_id: str) -> Instance:
        self._call()
        return self._account.get(instance_id)

    def create(
        self, offer: Offer, spec: LaunchSpec, tags: Mapping[str, str], still: Still = at_will
    ) -> Instance:
        self._call()
        still()
        world, provider = self._world, self._provider
        world.acts(self._process, "create", f"{tags.get('drkit-run')}/{tags.get('drkit-step')}")
        world.rules.before_create(self._process, offer, tags)
        answer = provider.answers.popleft() if provider.answers else "ok"
        made: list[str] = []

        def land() -> None:
            made.append(provider.make(self._target, offer, spec, tags))
            provider.listed_s[made[-1]] = world.sim.now_s + provider.lag_s

        if answer in ("ok", "lost", "late"):
            world.sim.later(LONGEST_EFFECT_S - 1 if answer == "late" else 0.5, land)
        if answer == "ok":
            world.sim.wait(lambda: bool(made), LONGEST_EFFECT_S)
            world.sim.switch()
            self._process_lives()
            return self._account.get(made[0])
        if answer in ("lost", "late", "never"):
            world.sim.wait(None, LONGEST_EFFECT_S)
            self._process_lives()
            raise EffectUnknown("create gave no answer", hint="look by tags")
        raise ComputeError("refused", fault=Fault[answer], hint="the world says so")

    def destroy(self, instance_id: str, still: Still = at_will) -> None:
        self._call()
        still()
        self._world.acts(self._process, "destroy", instance_id)
        self._world.rules.before_destroy(self._process, self._account.get(instance_id))
        self._account.destroy(instance_id)
        self._call()

    def _call(self) -> None:
        self._world.sim.switch()
        self._process_lives()
        if self._provider.down:
            raise ComputeError("no answer", fault=Fault.TRANSIENT, hint="the world says so")

    def _process_lives(self) -> None:
        if self._process.dead:
            raise Dead


class ProcessSwitch:
    """`Switch` in the hands of one process."""

    def __init__(self, world: World, process: Drkit, inner: MemorySwitch) -> None:
        self._world = world
        self._process = process
        self._inner = inner
        self.refusal = inner.refusal
        self.plan = inner.plan

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def record(self) -> str:
        return self._inner.record

    def read(self) -> Setting:
        if self._world.stops_at_read == self._inner.name:
            self._world.stops_at_read, self._process.stopped = "", True
        self._call()
        return self._inner.read()

    def apply(self, plan: SwitchPlan, still: Still = at_will) -> None:
        self._call()
        apply_plan(self, plan, self._set, still)

    def _set(self, plan: SwitchPlan, still: Still) -> None:
        self._call()
        still()
        world, inner = self._world, self._inner
        world.acts(self._process, "switch", f"{inner.name} -> {plan.after}")
        judge = world.rules.before_switch if self._process.run_id else world.rules.before_flip
        judge(self._process, inner, plan)
        slow_s = world.slow_switches.pop(inner.name, None)
        if slow_s is None:
            inner._set(plan)
            self._call()
            return
        world.sim.later(slow_s, lambda: inner._set(plan))
        world.sim.wait(None, slow_s + 0.5)
        if self._process.dead:
            raise Dead

    def _call(self) -> None:
        self._world.sim.switch()
        if self._process.dead:
            raise Dead
        if self._inner.name in self._world.switches_down:
            raise SwitchFailed(f"{self._inner.name}: no answer", hint="the world says so")


class ProcessPlace:
    """The arbiter's place in the hands of one process. No other thread comes between: `KeptLease`
    holds a lock meanwhile.
    """

    def __init__(self, world: World, process: Drkit, inner: MemoryPlace) -> None:
        self._world = world
        self._process = process
        self._inner = inner

    def read(self, service: str) -> ServiceState:
        self._answer()
        return self._inner.read(service)

    def change(self, service: str, step: Step) -> ServiceState:
        self._answer()
        before = self._inner.read(service)
        after = self._inner.change(service, step)
        if before.role != after.role:
            self._world.acts(self._process, "role", f"{service}: {after.role}")
            self._world.rules.after_role(self._process, service, before.role, after.role)
        if self._world.arbiter_mute:
            self._world.arbiter_mute -= 1
            raise ArbiterUnreachable("the answer was lost", hint="the world says so")
        return after

    def prove(self) -> str:
        return "it is in memory"

    def skew_s(self) -> float:
        return -self._process.machine.skew_s

    def _answer(self) -> None:
        if self._process.dead:
            raise Dead
        if self._world.arbiter_down or self._process.machine.name in self._world.cut_off:
            raise ArbiterUnreachable("no answer", hint="the world says so")


class ProcessProber:
    """Answers as the world is now."""

    def __init__(self, world: World, process: Drkit) -> None:
        self._world = world
        self._process = process

    def observe(self, endpoint: Any, *, model: str, api_key: str | None) -> Observation:
        self._world.sim.switch()
        if self._process.dead:
            raise Dead
        answered_by = model if self._world.answers(endpoint.url) else None
        if answered_by is not None:
            self._world.rules.seen_alive(endpoint.url)
        clock = self._world.clock_of(self._process.machine)
        return observation(endpoint.url, model, answered_by, clock)
