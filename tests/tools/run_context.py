"""What the actions of one run may use, in the hands of one process of the run world."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from run_drkit import Drkit
from run_places import ProcessCompute, ProcessProber, ProcessSwitch

from drkit.compute.none import NoCompute
from drkit.runs.actions.interface import Context
from drkit.runs.book.plan import Plan

if TYPE_CHECKING:
    from run_world import World


def context_of(world: World, drkit: Drkit, plan: Plan) -> Context:
    drill = plan.namespace == "drill"
    switches = world.drill_switches if drill else world.switches
    known: dict[str, Any] = {
        "plan": plan,
        "config": world.config,
        "clock": world.clock_of(drkit.machine),
        "emit": lambda _event: None,
        "work_dir": world.folder / drkit.machine.name / drkit.run_id,
        "namespace": plan.namespace,
        "compute": ProcessCompute(world, drkit, plan.target) if plan.asks_provider else NoCompute(),
        "switches": tuple(ProcessSwitch(world, drkit, switch) for switch in switches),
        "arbiter": world.arbiter(drkit),
        "holder": drkit.holder,
        "prober": ProcessProber(world, drkit),
        "repository": lambda: world.stack.repository,
        "stores": world.stack.stores,
        "api_key": lambda: None,
        "primary": world.primary,
        "gateway_url": switches[1].record,
        "public_record": switches[0].record,
        "restore_qdrant_to": lambda _name: None,
        "time_scale": 1.0,
        "observe_s": 30.0,
        "settle_s": 30.0,
        "breakpoint": lambda step, point: world.breakpoint(drkit, step, point),
        "write_evidence": dict,
        "back_up": lambda _brought: world.stack.snapshot,
    }
    names = {each.name for each in fields(Context)}
    return Context(**{name: value for name, value in known.items() if name in names})
