"""The hard cases of runs: each is survived, and each is lost without the guard it is named for.

Which rule finds which guard missing: R1 `KeptLease.prove` (the epoch); R3 `_mark_local_only`; R4
`may_open`; R5 look-before-act, settle, `outwait_former_holder`, `StepGuard.check` and `holds`; R8
`fresh`, `alive_home`, a machine kept while traffic leads there, `under_way`; R9 what is known by
its id, `under_way`; H3 blindness that is no failure. Random lives find `record_paid` (R9), too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import run_scenes
import run_world
from run_inhabited import inhabited
from run_places import ProcessCompute
from run_scenes import Scene
from run_stack import Stack
from run_world import World

from drkit.compute.interface import Instance
from drkit.health import table
from drkit.health.interface import Observation
from drkit.runs import engine
from drkit.runs.actions import acquire, cutover, hold, money, pointing
from drkit.runs.actions.money import RUN_TAG, STEP_TAG
from drkit.runs.guard import StepGuard
from drkit.runs.journal import journal
from drkit.runs.lease import KeptLease
from drkit.runs.rollback import Rollback

SCENES = {
    name: scene
    for name, scene in vars(run_scenes).items()
    if getattr(scene, "__module__", "") == "run_scenes" and not name.startswith("_")
}
MODES = {"a_pause_between_an_outage_and_its_run": "auto", "an_outage_that_nobody_can_see": "auto"}


def play(stack: Stack, folder: Path, name: str) -> list[str]:
    """What the scene broke."""
    scene: Scene = SCENES[name]
    with inhabited(World(stack, folder, seed=1, mode=MODES.get(name, "approve"))) as world:
        scene(world)
        return list(world.rules.broken)


@pytest.mark.parametrize("name", SCENES)
def test_the_hard_case_is_survived(stack: Stack, tmp_path: Path, name: str) -> None:
    assert play(stack, tmp_path / "world", name) == []


Removed = Callable[[pytest.MonkeyPatch], None]


def no_look(patch: pytest.MonkeyPatch) -> None:
    blind = {name: replace(action, look=None) for name, action in run_world.ACTIONS.items()}
    patch.setattr(run_world, "ACTIONS", blind)


def no_outwaiting(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(StepGuard, "outwait_former_holder", lambda _self, _scale, **_: None)


def nothing_under_way(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(engine, "under_way", lambda _entries: False)


def no_settling(patch: pytest.MonkeyPatch) -> None:
    context = World.context
    patch.setattr(World, "context", lambda *a: replace(context(*a), settle_s=0.0))


def no_check(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(StepGuard, "check", lambda _self: None)


def asked_before_it_connects(patch: pytest.MonkeyPatch) -> None:
    create = ProcessCompute.create

    def early(self: ProcessCompute, offer, spec, tags, still) -> Instance:
        still()
        return create(self, offer, spec, tags)

    patch.setattr(ProcessCompute, "create", early)


def any_epoch(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(KeptLease, "prove", lambda self, _run_id, _epoch: self._renew())


def proofs_for_ever(patch: pytest.MonkeyPatch) -> None:
    for module in (cutover, pointing):
        patch.setattr(module, "fresh", lambda _proved_at, _now: True)


def home_unseen(patch: pytest.MonkeyPatch) -> None:
    def home(context, _home):
        return pointing.Proven(context.plan.primary, context.primary, context.clock.now())

    for module in (cutover, hold):
        patch.setattr(module, "alive_home", home)


def by_site_alone(patch: pytest.MonkeyPatch) -> None:
    give_back = cutover._give_role_back

    def to_another_site(call, context, role, home, server) -> None:
        if role.site != home.site:
            give_back(call, context, role, home, server)

    patch.setattr(cutover, "_give_role_back", to_another_site)


def only_by_tags(patch: pytest.MonkeyPatch) -> None:
    def listed(call, context):
        return context.compute.find({RUN_TAG: call.run_id, STEP_TAG: call.step_id})

    patch.setattr(acquire, "_found", listed)


def no_names(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(money, "names_of", lambda *_of: [])


def begun_whatever_happened(patch: pytest.MonkeyPatch) -> None:
    def leave(self: StepGuard, why: str) -> bool:
        self.stop()
        self.note({"effect_unknown": why, "former_holder": True})
        return True

    patch.setattr(StepGuard, "leave", leave)


def undone_whatever_happened(patch: pytest.MonkeyPatch) -> None:
    undo = Rollback._undo

    def always(self, *step) -> None:
        undo(self, *step)

    patch.setattr(Rollback, "_undo", always)


def never_local_only(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(journal.Journal, "_mark_local_only", lambda _self, _run_id: None)


def nothing_against_it(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(journal, "may_open", lambda *_of: ())


def blindness_is_a_failure(patch: pytest.MonkeyPatch) -> None:
    def told(observation: Observation) -> table.Signal:
        return table.Signal.GOOD if observation.alive else table.Signal.BAD

    patch.setattr(table, "signal_of", told)


def everybody_may(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(World, "lives", lambda _self, _pid, _mark: False)
    patch.setattr(journal.Journal, "holds", lambda _self, _run_id: True)


GUARDS: dict[str, tuple[Removed, str]] = {
    "killed_while_a_machine_was_asked_for": (nothing_under_way, "R9"),
    "killed_while_a_switch_was_set": (nothing_under_way, "R8"),
    "a_machine_that_is_listed_late": (no_settling, "R5"),
    "a_machine_that_is_not_listed_when_it_is_given_back": (only_by_tags, "R9"),
    "a_stopped_process_that_goes_on_after_a_takeover": (no_check, "R5"),
    "a_process_that_was_stopped_with_its_request_in_hand": (asked_before_it_connects, "R5"),
    "taken_over_while_a_machine_was_asked_for": (no_outwaiting, "R5"),
    "a_proof_that_expired_while_nobody_looked": (proofs_for_ever, "R8"),
    "a_primary_that_does_not_answer_any_more": (home_unseen, "R8"),
    "another_machine_of_the_target_that_served_already": (by_site_alone, "R1"),
    "a_run_that_another_one_superseded": (any_epoch, "R1"),
    "a_process_that_stood_still_before_a_step_began": (begun_whatever_happened, "replayed"),
    "a_name_that_was_left_on_a_machine_when_users_were_held_elsewhere": (no_names, "R8"),
    "a_switch_that_is_gone_when_traffic_is_to_be_led_back": (undone_whatever_happened, "R8"),
    "no_store_for_what_is_about_to_be_done": (never_local_only, "R3"),
    "a_pause_between_an_outage_and_its_run": (nothing_against_it, "R4"),
    "an_outage_that_nobody_can_see": (blindness_is_a_failure, "H3"),
    "two_processes_on_one_machine": (everybody_may, "R5"),
    "a_step_that_died_before_its_result_was_written": (no_look, "R5"),
}


@pytest.mark.parametrize("name", GUARDS)
def test_without_its_guard_the_hard_case_is_lost(
    stack: Stack, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove, rule = GUARDS[name]
    remove(monkeypatch)
    try:
        broken = play(stack, tmp_path / "world", name)
    except AssertionError as error:
        broken = [f"the scene: {error}"]
    assert any(rule in each for each in broken), broken


def test_every_hard_case_has_its_guard() -> None:
    assert set(GUARDS) == set(SCENES)
