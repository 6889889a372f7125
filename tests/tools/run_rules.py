"""What must hold in the run world, looked at when a process acts and after every rule.

Each rule names its number in the catalogue of rules, and the guard without which it breaks (the
suites were seen to find each one when that guard was taken out). What is wrong is noted, not
raised: an error raised within an action would be taken for the action's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from drkit.compute.interface import Instance, Offer
from drkit.coordination.interface import RoleRecord
from drkit.runs.records import Entry, RunState, StepState, paid_resources
from drkit.runs.states import replay
from drkit.traffic.interface import SwitchPlan
from drkit.traffic.memory import MemorySwitch

if TYPE_CHECKING:
    from run_world import Drkit, World

PROOF_S = 600.0


class Rules:
    def __init__(self, world: World) -> None:
        self._world = world
        self.broken: list[str] = []
        self._proved_s: dict[str, float] = {}
        self._alive_s: dict[str, float] = {}
        self._owner: dict[tuple[str, int], str] = {}
        self._ended: set[str] = set()

    def proved(self, url: str) -> None:
        self._proved_s[url] = self._world.sim.now_s

    def seen_alive(self, url: str) -> None:
        self._alive_s[url] = self._world.sim.now_s

    def before_create(self, drkit: Drkit, offer: Offer, tags: Mapping[str, str]) -> None:
        """R9: recorded before requested (guard: `record_paid`). R3. R10. One owner."""
        run = self._world.run(drkit.run_id)
        key = f"{tags['drkit-step']}/{tags['drkit-attempt']}"
        entries = self._entries(run.id)
        paid = {each.key: each.state for each in paid_resources(entries)}
        self._must(paid.get(key) == "REQUESTED", f"R9: {key} is requested and not recorded: {paid}")
        plan = self._world.journal().plan(run.id)
        if run.namespace == "drill":
            self._must(plan.usd_per_run is not None, "R10: a drill without a cap buys")
        if plan.usd_per_hour is not None:
            self._must(offer.usd_per_hour <= plan.usd_per_hour, "R10: over the cap per hour")
        others = [each.id for each in self._own(run.id) if each.tags["drkit-run"] == run.id]
        self._must(not others, f"R5: {others} are there, and another one is asked for")
        self._may_act(drkit, entries, "create", tags["drkit-step"])

    def before_destroy(self, drkit: Drkit, instance: Instance) -> None:
        """R7: only what this run made. R8: not while traffic leads there."""
        run_id = instance.tags.get("drkit-run")
        self._must(run_id == drkit.run_id, f"R7: {drkit.run_id} destroys what {run_id} made")
        url = instance.endpoint.url if instance.endpoint else None
        for switch in (*self._world.switches, *self._world.drill_switches):
            now = switch.history[-1]
            self._must(
                now.held or now.value != url, f"R8: {switch.name} leads to what is destroyed"
            )
        self._may_act(drkit, self._entries(drkit.run_id), "destroy")

    def before_switch(self, drkit: Drkit, switch: MemorySwitch, plan: SwitchPlan) -> None:
        """R8: only to a proven place (guards: `fresh`, `alive_home`). R11: to a drill's own."""
        world, url = self._world, plan.after.value
        own = world.drill_switches if self._drill(drkit) else world.switches
        self._must(switch in own, f"R11: {drkit.run_id} moves {switch.name}")
        self._may_act(drkit, self._entries(drkit.run_id), "switch")
        if plan.after.held or url is None or url == plan.before.value == plan.after.value:
            return
        if url == world.primary_url:
            seen_s = self._alive_s.get(url)
        else:
            seen_s = self._proved_s.get(url)
        age_s = None if seen_s is None else world.sim.now_s - seen_s
        # A wall clock that was turned meanwhile is believed by as much as it was turned.
        most_s = PROOF_S + abs(drkit.machine.skew_s)
        fine = age_s is not None and age_s <= most_s
        self._must(fine, f"R8: {switch.name} is pointed at {url}, proved {age_s} s ago")

    def after_role(
        self, drkit: Drkit, service: str, before: RoleRecord | None, after: RoleRecord | None
    ) -> None:
        """R1: epochs only grow, and each has one owner (guards: `recorded`, `prove`). R11."""
        self._must(after is not None, "R1: the role was removed")
        if after is None:
            return
        self._must(before is None or after.epoch > before.epoch, f"R1: {before} became {after}")
        owner = self._owner.setdefault((service, after.epoch), str(after.run_id))
        self._must(owner == after.run_id, f"R1: epoch {after.epoch} of {owner} and {after.run_id}")
        self._must(
            service.endswith("/drill") == self._drill(drkit), f"R11: {drkit.run_id} records {after}"
        )
        self._may_act(drkit, self._entries(drkit.run_id), "role")

    def always(self) -> None:
        """After every rule of the machine."""
        world = self._world
        open_runs: dict[tuple[str, str], list[str]] = {}
        for run in world.journal().runs():
            if run.ended_at is None:
                open_runs.setdefault((run.service, run.namespace), []).append(run.id)
            elif run.id not in self._ended:
                self._ended.add(run.id)
                self._after_the_end(run.id)
            self._story(run.id)
        for of, ids in open_runs.items():
            self._must(len(ids) == 1, f"R4: {of} has {ids} open")
        gone = {
            each.endpoint.url: each.id
            for each in world.provider.inner._instances.values()
            if each.endpoint is not None and each not in world.provider.alive()
        }
        for switch in world.switches:
            now = switch.history[-1]
            taken = not now.held and now.value in gone and gone[now.value] in world.destroyed()
            self._must(not taken, f"R8: {switch.name} leads to {now.value}, which drkit destroyed")

    def at_the_end(self) -> None:
        """Everything works again, and everything that was open was brought to an end."""
        world = self._world
        self.always()
        runs = {run.id: run for run in world.journal().runs()}
        for run in runs.values():
            self._must(run.state.ended, f"{run.id} is left in {run.state.value}")
        for instance in world.provider.alive():
            run_id = instance.tags["drkit-run"]
            adopted = {
                each.instance_id
                for each in paid_resources(self._entries(run_id))
                if each.state == "ADOPTED"
            }
            fine = instance.id in adopted and runs[run_id].outcome == "committed"
            reported = instance.id in self._reported(run_id)
            self._must(fine or reported, f"R9: {instance.id} of {run_id} is left over, unreported")
        role = world.place.read(world.service).role
        for switch in world.switches:
            now = switch.history[-1]
            if now.held or now.value is None or now.value == world.primary_url:
                continue
            right = role is not None and role.endpoint_url == now.value
            self._must(right, f"R1: {switch.name} leads to {now.value}, and {role} serves")

    def _after_the_end(self, run_id: str) -> None:
        """R9: each paid resource ADOPTED or CONFIRMED_GONE. R12: nothing skipped silently, and
        what began is undone (guard: `Rollback`). R11: nothing is left of a drill.
        """
        run, entries = self._world.run(run_id), self._entries(run_id)
        plan = self._world.journal().plan(run_id)
        steps = replay(entries, [step.id for step in plan.steps])
        asked = [each for each in paid_resources(entries) if each.state == "REQUESTED"]
        self._must(not asked, f"R9: {run_id} ended with {asked}")
        if run.outcome == "committed":
            for step in plan.steps:
                state = steps[step.id].state
                fine = state is StepState.DONE or (
                    state is StepState.FAILED and step.on_failure == "continue"
                )
                said = state is StepState.SKIPPED and self._skip_is_said(entries, step.id)
                self._must(fine or said, f"R12: {run_id} committed with {step.id} {state.value}")
        else:
            left = [each.id for each in self._own(run_id)]
            self._must(not left, f"R9: {run_id} ended {run.outcome} and {left} are left")
        if run.state is RunState.ROLLED_BACK:
            from drkit.runs.actions.catalog import ACTIONS

            for step in plan.steps:
                began = steps[step.id].began and ACTIONS[step.action].undo is not None
                undone = steps[step.id].state is StepState.UNDONE or step.keep is not None
                self._must(not began or undone, f"R12: {run_id} rolled back, not {step.id}")

    def _story(self, run_id: str) -> None:
        entries = self._entries(run_id)
        numbers = [entry.seq for entry in entries]
        self._must(numbers == list(range(1, len(numbers) + 1)), f"{run_id}: entries {numbers}")
        elapsed = [entry.elapsed_s for entry in entries]
        self._must(elapsed == sorted(elapsed), f"{run_id}: its time runs backwards")
        try:
            replay(entries, [step.id for step in self._world.journal().plan(run_id).steps])
        except ValueError as error:
            self._must(False, f"{run_id} cannot be replayed: {error}")

    def _may_act(
        self, drkit: Drkit, entries: list[Entry], kind: str, step: str | None = None
    ) -> None:
        """R5: nobody else has the lease or the run (guard: `StepGuard.check`). R3: the intent is
        in the journal, and in a store, or the run is known to be local-only.
        """
        world, run = self._world, self._world.run(drkit.run_id)
        holder = f"{drkit.machine.name}/{drkit.run_id}"
        service = f"{run.service}/drill" if run.namespace == "drill" else run.service
        lease = world.place.read(service).lease
        mine = lease is not None and lease.holder == holder
        self._must(mine, f"R5: {holder} does {kind} under the lease {lease}")
        rivals = [each for each in world.drkits if each.pid == run.pid and each is not drkit]
        here = [each.mark for each in rivals if each.machine is drkit.machine]
        self._must(not here, f"R5: {drkit.mark} does {kind}, and {here} has the run")
        plan = world.journal().plan(run.id)
        steps = replay(entries, [each.id for each in plan.steps])
        busy = (StepState.INTENT, StepState.EFFECT_UNKNOWN)
        begun = [each for each, progress in steps.items() if progress.state in busy]
        self._must(step in begun if step else bool(begun), f"R3: {kind} without an intent")
        intents = [
            entry.seq
            for entry in entries
            if entry.kind == "intent"
            and entry.step in begun
            and entry.payload["effect"] in ("paid", "traffic", "fence")
        ]
        copied = self._copied(run.id).issuperset(intents)
        self._must(copied or run.local_only, f"R3: {kind} with an intent that no store has")

    def _copied(self, run_id: str) -> set[int]:
        """Numbers of the entries that the store has."""
        copies = [
            json.loads(content)
            for name, content in self._world.copies.items()
            if name.startswith(f"runs/{run_id}/")
        ]
        return {entry["seq"] for copy in copies for entry in copy.get("entries", [copy])}

    def _skip_is_said(self, entries: list[Entry], step: str) -> bool:
        said = [e.payload for e in entries if e.kind == "skipped" and e.step == step]
        return bool(said) and all(each.get("reason") and each.get("who") for each in said)

    def _reported(self, run_id: str) -> str:
        return " ".join(
            str(e.payload) for e in self._entries(run_id) if e.kind in ("note", "state")
        )

    def _own(self, run_id: str) -> list[Instance]:
        return [e for e in self._world.provider.alive() if e.tags.get("drkit-run") == run_id]

    def _drill(self, drkit: Drkit) -> bool:
        return self._world.run(drkit.run_id).namespace == "drill"

    def _entries(self, run_id: str) -> list[Entry]:
        return self._world.journal().entries(run_id)

    def _must(self, fine: bool, what: str) -> None:
        if not fine:
            self.broken.append(f"{self._world.sim.now_s:.0f} s: {what}")
