"""What must hold in the run world, looked at when a process acts and after every rule.

Each rule names its number in the catalogue of rules, and the guard without which it breaks (the
suites were seen to find each one when that guard was taken out). What is wrong is noted, not
raised: an error raised within an action would be taken for the action's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from drkit.compute.interface import Instance, InstanceState, Offer
from drkit.coordination.interface import RoleRecord
from drkit.health.witness.asking import Voice
from drkit.operations.watch.decide import current_pause
from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.journal.opening import Opener, Right
from drkit.runs.journal.reading import ReadableJournal
from drkit.runs.records import EXTERNAL, Entry, RunRecord, RunState, StepState, paid_resources
from drkit.runs.states import replay
from drkit.traffic.interface import SwitchPlan
from drkit.traffic.memory import MemorySwitch

if TYPE_CHECKING:
    from run_world import Drkit, Known, World

PROOF_S = 600.0


class Rules:
    def __init__(self, world: World) -> None:
        self._world = world
        self.broken: list[str] = []
        self._proved_s: dict[str, float] = {}
        self._alive_s: dict[str, float] = {}
        self._owner: dict[tuple[str, int], str] = {}
        self._ended: set[str] = set()
        self._looked_at = (0, 0, 0)

    def proved(self, url: str) -> None:
        self._proved_s[url] = self._world.sim.now_s

    def seen_alive(self, url: str) -> None:
        self._alive_s[url] = self._world.sim.now_s

    def before_create(self, drkit: Drkit, offer: Offer, tags: Mapping[str, str]) -> None:
        """R9: recorded before requested (guard: `record_paid`). R3. R10. One owner."""
        known = self._world.known(drkit.run_id, drkit.machine.name)
        run, plan, entries = known.run, known.plan, known.entries
        key = f"{tags['drkit-step']}/{tags['drkit-attempt']}"
        paid = {each.key: each.state for each in paid_resources(entries)}
        self._must(paid.get(key) == "REQUESTED", f"R9: {key} is requested and not recorded: {paid}")
        if run.namespace == "drill":
            self._must(plan.usd_per_run is not None, "R10: a drill without a cap buys")
        if plan.usd_per_hour is not None:
            self._must(offer.usd_per_hour <= plan.usd_per_hour, "R10: over the cap per hour")
        others = [each.id for each in self._own(run.id)]
        self._must(not others, f"R5: {others} are there, and another one is asked for")
        self._may_act(drkit, "create", tags["drkit-step"], known)

    def before_destroy(self, drkit: Drkit, instance: Instance) -> None:
        """R7: only what this run made, or (a failback) the run that it leaves. R8: not while
        traffic leads there.
        """
        run_id = instance.tags.get("drkit-run")
        plan = self._world.known(drkit.run_id, drkit.machine.name).plan
        leaves = [step.arguments.get("made_by") for step in plan.steps if step.action == "release"]
        fine = run_id in (drkit.run_id, *leaves)
        self._must(fine, f"R7: {drkit.run_id} destroys what {run_id} made")
        url = instance.endpoint.url if instance.endpoint else None
        for switch in (*self._world.switches, *self._world.drill_switches):
            now = switch.history[-1]
            self._must(
                now.held or now.value != url, f"R8: {switch.name} leads to what is destroyed"
            )
        self._may_act(drkit, "destroy")

    def opened(self, drkit: Drkit, run: RunRecord, opener: Opener | None) -> None:
        """R4: nobody's and a decision's run respect what stands against them (guard: `may_open`).
        H3: nothing is decided by who sees nothing (guards: `blocks`, `unattended_blocks`).
        """
        if opener is None or opener.right is Right.TYPED:
            return
        world, machine = self._world, drkit.machine.name
        database, now = world.databases[machine], world.clock_of(drkit.machine).now()
        paused = current_pause(database, world.service, now)
        self._must(paused is None, f"R4: {run.id} is opened while {paused}")
        self._must(not drkit.saw_nothing, f"H3: {run.id} is opened by who sees nothing")
        if opener.right is Right.APPROVED:
            return
        settings = world.config.decide
        others = [each for each in ReadableJournal(database).runs() if each.id != run.id]
        own = [each for each in others if each.namespace == "production"]
        lately = [e for e in own if e.unattended and now - e.created_at < timedelta(days=1)]
        self._must(settings.mode == "auto", f"R4: {run.id} is unattended in mode {settings.mode}")
        self._must(len(lately) < settings.most_per_day, f"R4: {run.id} after {lately}")
        last = max((each.ended_at for each in own if each.ended_at), default=None)
        looked = database.recall(f"acknowledged/{world.service}")
        cools = last is not None and (not looked or datetime.fromisoformat(looked) < last)
        cool = not cools or last is None or (now - last).total_seconds() >= settings.cooldown
        self._must(cool, f"R4: {run.id} is unattended, {now - (last or now)} after a run")
        self._must(
            drkit.heard is Voice.DOWN, f"H3: {run.id} with a witness that says {drkit.heard}"
        )

    def before_flip(self, drkit: Drkit, switch: MemorySwitch, plan: SwitchPlan) -> None:
        """The protective hold. H3: not by who sees nothing (guard: `may_hold`). R8: users are led
        back to who answered just now. One owner: under the service's lease.
        """
        world = self._world
        self._must(switch in world.switches, f"R11: the watch moves {switch.name}")
        lease = world.place.read(world.service).lease
        holder = f"{drkit.machine.name}/probe-{drkit.pid}/hold"
        mine = lease is not None and lease.holder == holder
        self._must(mine, f"R5: {holder} moves {switch.name} under {lease}")
        if plan.after.held:
            self._must(not drkit.saw_nothing, "H3: users are held by who sees nothing")
            self._must(bool(self._alive_s), "H3: never seen healthy, and held")
        else:
            seen_s = self._alive_s.get(plan.after.value or "")
            fine = seen_s is not None and world.sim.now_s - seen_s <= PROOF_S
            self._must(fine, f"R8: users are led back to {plan.after.value}, alive {seen_s}")

    def before_switch(self, drkit: Drkit, switch: MemorySwitch, plan: SwitchPlan) -> None:
        """R8: on the way only to a proven place, back only to who answers (guards: `fresh`,
        `alive_home`). R11: a drill moves its own names.
        """
        world, url = self._world, plan.after.value
        entries = world.known(drkit.run_id, drkit.machine.name).entries
        back = [e for e in entries if e.kind == "intent"][-1].payload.get("undo") is True
        own = world.drill_switches if self._drill(drkit) else world.switches
        self._must(switch in own, f"R11: {drkit.run_id} moves {switch.name}")
        at_once = plan.after.held and world.run(drkit.run_id).target == EXTERNAL  # needs no lease
        self._may_act(drkit, "switch", leased=not at_once)
        self._serves(drkit, f"{switch.name} -> {plan.after}")
        if plan.after.held or url is None or url == plan.before.value == plan.after.value:
            return
        seen_s = (self._alive_s if back else self._proved_s).get(url)
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
        if service.startswith("run/") or service.endswith("/hold"):  # notes, and not who serves
            return
        owner = self._owner.setdefault((service, after.epoch), str(after.run_id))
        self._must(owner == after.run_id, f"R1: epoch {after.epoch} of {owner} and {after.run_id}")
        self._must(
            service.endswith("/drill") == self._drill(drkit), f"R11: {drkit.run_id} records {after}"
        )
        self._may_act(drkit, "role")

    def always(self) -> None:
        """After every rule of the machine; where nothing was done since, nothing can be broken."""
        world = self._world
        moved = sum(len(each.history) for each in (*world.switches, *world.drill_switches))
        now = (sum(each.writes for each in world.drkits), len(world.done), moved)
        if now == self._looked_at:
            return
        self._looked_at = now
        for machine, journal in world.readable():
            open_runs = [run for run in journal.runs() if run.ended_at is None]
            for namespace in ("production", "drill"):
                ids = [run.id for run in open_runs if run.namespace == namespace]
                self._must(len(ids) <= 1, f"R4: {machine} has {ids} open")
        for run in world.runs():
            known = world.known(run.id)
            if run.ended_at is not None and run.id not in self._ended:
                self._ended.add(run.id)
                self._after_the_end(known)
            self._story(known)
        gone = {
            each.endpoint.url: each.id
            for each in world.provider.every()
            if each.endpoint is not None and each.state is InstanceState.GONE
        }
        for switch in world.switches:
            now = switch.history[-1]
            taken = not now.held and gone.get(now.value or "") in world.destroyed()
            self._must(not taken, f"R8: {switch.name} leads to {now.value}, which drkit destroyed")

    def at_the_end(self) -> None:
        """Everything works again, and everything that was open was brought to an end."""
        world = self._world
        self.always()
        runs = {run.id: run for run in world.runs()}
        for run in runs.values():
            self._must(run.state.ended, f"{run.id} is left in {run.state.value}")
        for instance in world.provider.alive():
            entries = world.known(instance.tags["drkit-run"]).entries
            run = runs[instance.tags["drkit-run"]]
            paid = paid_resources(entries)
            adopted = [each.instance_id for each in paid if each.state == "ADOPTED"]
            fine = instance.id in adopted and run.outcome == "committed"
            reported = f"instance {instance.id}" in _told(entries)
            self._must(fine or reported, f"R9: {instance.id} of {run.id} is left over, unreported")
        role = world.place.read(world.service).role
        for switch in world.switches:
            now = switch.history[-1]
            if now.held or now.value is None or now.value == world.primary_url:
                continue
            # A name cannot hold users; while they are held elsewhere it stays as it was.
            right = role is not None and role.endpoint_url in (now.value, None)
            self._must(right, f"R1: {switch.name} leads to {now.value}, and {role} serves")

    def _after_the_end(self, known: Known) -> None:
        """R9: each paid resource ADOPTED or CONFIRMED_GONE. R12: nothing skipped silently, and
        what began is undone (guard: `Rollback`). R11: nothing is left of a drill.
        """
        run, plan, entries = known.run, known.plan, known.entries
        steps = replay(entries, [step.id for step in plan.steps])
        asked = [each for each in paid_resources(entries) if each.state == "REQUESTED"]
        self._must(not asked, f"R9: {run.id} ended with {asked}")
        if run.outcome == "committed":
            for step in plan.steps:
                state = steps[step.id].state
                fine = state is StepState.DONE or (
                    state is StepState.FAILED and step.on_failure == "continue"
                )
                said = state is StepState.SKIPPED and _skip_is_said(entries, step.id)
                self._must(fine or said, f"R12: {run.id} committed with {step.id} {state.value}")
        else:
            left = [each.id for each in self._own(run.id)]
            self._must(not left, f"R9: {run.id} ended {run.outcome} and {left} are left")
        if run.state is RunState.ROLLED_BACK:
            for step in plan.steps:
                began = steps[step.id].began and ACTIONS[step.action].undo is not None
                undone = steps[step.id].state is StepState.UNDONE or step.keep is not None
                self._must(not began or undone, f"R12: {run.id} rolled back, not {step.id}")

    def _story(self, known: Known) -> None:
        run, entries = known.run, known.entries
        numbers = [entry.seq for entry in entries]
        self._must(numbers == list(range(1, len(numbers) + 1)), f"{run.id}: entries {numbers}")
        elapsed = [entry.elapsed_s for entry in entries]
        self._must(elapsed == sorted(elapsed), f"{run.id}: its time runs backwards")
        try:
            replay(entries, [step.id for step in known.plan.steps])
        except ValueError as error:
            self._must(False, f"{run.id} cannot be replayed: {error}")

    def _may_act(
        self,
        drkit: Drkit,
        kind: str,
        step: str | None = None,
        known: Known | None = None,
        *,
        leased: bool = True,
    ) -> None:
        """R5: nobody else has the lease or the run (guards: `StepGuard.check`, and that the lease
        comes before the claim). R3: the intent is in the journal, and in a store, or the run is
        known to be local-only.
        """
        world = self._world
        known = known or world.known(drkit.run_id, drkit.machine.name)
        run, entries = known.run, known.entries
        lease = world.place.read(known.plan.service_key).lease
        mine = not leased or (lease is not None and lease.holder == drkit.holder)
        self._must(mine, f"R5: {drkit.holder} does {kind} under the lease {lease}")
        self._must(run.pid == drkit.pid, f"R5: {drkit.mark} does {kind}, {run.pid} has the run")
        steps = replay(entries, [each.id for each in known.plan.steps])
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

    def _serves(self, drkit: Drkit, what: str) -> None:
        """R1: no traffic is moved by a run whose epoch is over (guard: `KeptLease.prove`)."""
        known = self._world.known(drkit.run_id, drkit.machine.name)
        role = self._world.place.read(known.plan.service_key).role
        over = role is not None and role.run_id != drkit.run_id
        fine = not over or known.run.epoch is None or role.epoch < known.run.epoch
        self._must(fine, f"R1: {drkit.run_id} of epoch {known.run.epoch}: {what}, under {role}")

    def _copied(self, run_id: str) -> set[int]:
        """Numbers of the entries that the store has."""
        copies = [
            json.loads(content)
            for name, content in self._world.journals.objects.items()
            if name.startswith(f"runs/{run_id}/")
        ]
        return {entry["seq"] for copy in copies for entry in copy["entries"]}

    def _own(self, run_id: str) -> list[Instance]:
        return [e for e in self._world.provider.alive() if e.tags.get("drkit-run") == run_id]

    def _drill(self, drkit: Drkit) -> bool:
        return drkit.run_id.startswith("drill-")

    def _must(self, fine: bool, what: str) -> None:
        if not fine:
            self.broken.append(f"{self._world.sim.now_s:.0f} s: {what}")


def _skip_is_said(entries: list[Entry], step: str) -> bool:
    said = [e.payload for e in entries if e.kind == "skipped" and e.step == step]
    return bool(said) and all(each.get("reason") and each.get("who") for each in said)


def _told(entries: list[Entry]) -> str:
    return " ".join(str(e.payload) for e in entries if e.kind in ("note", "state"))
