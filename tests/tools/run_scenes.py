"""The hard cases of runs, each as a scene in the run world: what random lives meet seldom.

A scene leaves what it broke in `world.rules.broken`. Sound code breaks nothing; without its guard
each of them does (tests/faults/runs/test_hard_cases.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from run_story import Story
from run_world import World

from drkit.health.witness.asking import Voice
from drkit.runs.records import Ask, RunState, paid_resources
from drkit.traffic.interface import Setting

Scene = Callable[[World], None]


def _failover(world: World) -> Story:
    return Story(world, "primary-gpu-down", "failover")


def _until(world: World, kind: str) -> None:
    """Until the first effect of that kind was asked for."""
    world.sim.run(lambda: any(done.kind == kind for done in world.done))


def _passes(world: World, seconds: float) -> None:
    world.sim.run(ends_s=world.sim.now_s + seconds)


def _over(world: World, story: Story, ending: str = "resumed", machine: str = "one") -> None:
    """Brought to its end, and looked at until nothing can arrive any more."""
    if ending == "rolled back" and not world.run(story.run_id).state.ended:
        world.ask(story.run_id, Ask("rollback", "somebody"), machine)
    for _ in range(4):
        if world.run(story.run_id).state.ended:
            break
        world.finish(world.execute(story.run_id, machine))
    _passes(world, 300.0)
    world.rules.at_the_end()


def killed_while_a_machine_was_asked_for(world: World) -> None:
    """The request arrives long after the kill; the run is taken back at once."""
    story = _failover(world)
    world.provider.answers.append("late")
    drkit = world.execute(story.run_id)
    _until(world, "create")
    _passes(world, 1.0)
    world.sim.kill(drkit)
    _over(world, story, "rolled back")


def killed_while_a_switch_was_set(world: World) -> None:
    """The setting arrives after the kill; the run is taken back at once."""
    story = _failover(world)
    drkit = world.execute(story.run_id)
    world.sim.run(lambda: any(done.kind == "role" for done in world.done))
    world.slow_switches["gateway"] = 9.0
    world.sim.run(lambda: not world.slow_switches)
    _passes(world, 1.0)
    world.sim.kill(drkit)
    _over(world, story, "rolled back")


def a_machine_that_is_listed_late(world: World) -> None:
    """Its answer was lost, and so was the process; it is listed only after a while."""
    story = _failover(world)
    world.provider.answers.append("lost")
    world.provider.lag_s = 100.0
    drkit = world.execute(story.run_id)
    _until(world, "create")
    _passes(world, 1.0)
    world.sim.kill(drkit)
    _passes(world, 30.0)
    _over(world, story)


def a_machine_that_is_not_listed_when_it_is_given_back(world: World) -> None:
    story = _failover(world)
    world.provider.lag_s = 1e6
    world.execute(story.run_id, dies_at=("verify", "after-intent"))
    world.sim.run()
    _over(world, story, "rolled back")


def a_stopped_process_that_goes_on_after_a_takeover(world: World) -> None:
    """It is stopped between two switches, just before it looks at the second; another machine
    takes the run over and takes it back, and then the first one wakes up.
    """
    story = _failover(world)
    first = world.execute(story.run_id)
    _until(world, "role")
    world.stops_at_read = "gateway"
    world.sim.run(lambda: first.stopped)
    world.finish(world.execute(story.run_id, "two", dies_at=("verify_public", "before-intent")))
    _over(world, story, "rolled back", "two")
    first.stopped = False
    world.finish(first)
    world.rules.at_the_end()


def a_process_that_was_stopped_with_its_request_in_hand(world: World) -> None:
    """Between what it wrote down and what it sends: a connection takes as long as that."""
    story = _failover(world)
    first = world.execute(story.run_id)
    world.sim.run(lambda: bool(paid_resources(world.known(story.run_id, "one").entries)))
    first.stopped = True
    _passes(world, 100.0)
    second = world.execute(story.run_id, "two")
    world.sim.run(lambda: second.over or any(done.kind == "create" for done in world.done))
    first.stopped = False
    world.finish(first)
    world.finish(second)
    _over(world, story, machine="two")


def taken_over_while_a_machine_was_asked_for(world: World) -> None:
    story = _failover(world)
    world.provider.answers.append("late")
    first = world.execute(story.run_id)
    _until(world, "create")
    _passes(world, 1.0)
    world.sim.kill(first)
    world.provider.lag_s = 25.0
    world.finish(world.execute(story.run_id, "two"))
    _over(world, story, machine="two")


def a_proof_that_expired_while_nobody_looked(world: World) -> None:
    """Stopped between verify and cutover for twenty minutes; the target died meanwhile."""
    story = _failover(world)
    drkit = world.execute(story.run_id)
    world.sim.run(lambda: _done(world, story, "verify"))
    drkit.stopped = True
    _passes(world, 1200.0)
    world.provider.dumb |= {each.id for each in world.provider.alive()}
    drkit.stopped = False
    _over(world, story)


def _done(world: World, story: Story, step: str) -> bool:
    entries = world.known(story.run_id).entries
    return any(entry.step == step and entry.kind == "done" for entry in entries)


def a_primary_that_does_not_answer_any_more(world: World) -> None:
    """Users were led away, and the target fails while it is watched."""
    story = _failover(world)
    drkit = world.execute(story.run_id)
    world.sim.run(lambda: _done(world, story, "cutover"))
    world.provider.dumb |= {each.id for each in world.provider.alive()}
    world.finish(drkit)
    _over(world, story)


def another_machine_of_the_target_that_served_already(world: World) -> None:
    """A failover to where the service lives, taken back: the former machine serves again."""
    first = _failover(world)
    world.finish(world.execute(first.run_id))
    assert world.run(first.run_id).state is RunState.COMMITTED
    story = _failover(world)
    drkit = world.execute(story.run_id)
    world.sim.run(lambda: _done(world, story, "verify_public"))
    world.ask(story.run_id, Ask("rollback", "somebody"))
    world.finish(drkit)
    _over(world, story, "rolled back")


def a_run_that_another_one_superseded(world: World) -> None:
    """A machine that knows nothing of the first one's run fails over meanwhile; the first one was
    about to hold users, and wakes up.
    """
    story = _failover(world)
    world.execute(story.run_id, dies_at=("hold", "after-intent"))
    world.sim.run()
    other = world.open_run(world.plan("primary-gpu-down", "failover", on="two"), "two")
    for _ in range(2):  # the lease that the first one left has to run out
        world.finish(world.execute(other.id, "two"))
        _passes(world, 100.0)
    assert world.run(other.id).state is RunState.COMMITTED
    world.finish(world.execute(story.run_id))
    _over(world, story, "rolled back")


def a_name_that_was_left_on_a_machine_when_users_were_held_elsewhere(world: World) -> None:
    """A run led the name to its machine and could not go on; another machine holds users, which
    moves no name; then the run is taken back.
    """
    story = _failover(world)
    world.execute(story.run_id)
    world.switches_down.add("gateway")
    world.sim.run()
    world.heal()
    _passes(world, 100.0)
    other = world.open_run(world.plan("emergency-rollback", "switchover", on="two"), "two")
    world.finish(world.execute(other.id, "two"))
    assert world.run(other.id).state is RunState.COMMITTED
    world.finish(world.execute(story.run_id))
    dns = world.switches[0]
    dns.set_by_another(Setting(False, world.primary_url))
    _over(world, story)


def a_switch_that_is_gone_when_traffic_is_to_be_led_back(world: World) -> None:
    story = _failover(world)
    drkit = world.execute(story.run_id)
    world.sim.run(lambda: _done(world, story, "cutover"))
    world.provider.dumb |= {each.id for each in world.provider.alive()}
    world.switches_down |= {"dns", "gateway"}
    world.finish(drkit)
    world.rules.always()
    world.heal()
    _over(world, story)


def no_store_for_what_is_about_to_be_done(world: World) -> None:
    """Nothing can be sealed: what is done all the same is known to be local-only."""
    story = _failover(world)
    world.journals.down = True
    world.finish(world.execute(story.run_id))
    _over(world, story)


def _seen_well_and_then_down(world: World) -> None:
    world.primary_up = world.standby_up = True
    world.finish(world.watching.probe("one", 6))
    world.primary_up, world.watching.witness = False, Voice.DOWN


def a_pause_between_an_outage_and_its_run(world: World) -> None:
    """Paused by an operator in the moment in which a run that nobody typed is opened."""
    _seen_well_and_then_down(world)
    opened = world.plan

    def paused_meanwhile(*what: Any, **how: Any) -> Any:
        world.watching.pause("one", 60.0)
        return opened(*what, **how)

    world.plan = paused_meanwhile  # type: ignore[method-assign]
    world.finish(world.watching.probe("one", 12))
    world.rules.at_the_end()


def an_outage_that_nobody_can_see(world: World) -> None:
    """The watcher's own line is gone: nothing is decided, and nobody is held."""
    _seen_well_and_then_down(world)
    world.watching.blind.add("one")
    world.finish(world.watching.probe("one", 12))
    world.rules.at_the_end()


def a_process_that_stood_still_before_a_step_began(world: World) -> None:
    """It goes on two hours later: the step is overdue, and has not begun."""
    story = _failover(world)
    drkit = world.execute(story.run_id, stops_at=("deploy", "before-intent"))
    world.sim.run()
    _passes(world, 7200.0)
    drkit.stopped = False
    world.finish(drkit)
    _over(world, story)


def two_processes_on_one_machine(world: World) -> None:
    """Somebody resumes a run that is being executed, in every one of its moments."""
    story = _failover(world)
    first = world.execute(story.run_id)
    while not first.over:
        world.execute(story.run_id)
        world.sim.run(turns=7)
    _over(world, story)


def a_step_that_died_before_its_result_was_written(world: World) -> None:
    """The machine is there and the journal does not say so."""
    story = _failover(world)
    world.execute(story.run_id, dies_at=("acquire", "after-effect"))
    world.sim.run()
    _over(world, story)
