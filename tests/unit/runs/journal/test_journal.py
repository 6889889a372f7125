"""The journal: durable lines, one open run, one writer, copies of intents."""

from __future__ import annotations

import json
import multiprocessing
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from drkit.errors import ConfigError
from drkit.runs.journal.journal import ClaimLost, Journal, RunOpen
from drkit.runs.records import RunState
from drkit.state.database import open_database

if TYPE_CHECKING:
    from conftest import World


def lines_of(content: bytes) -> list[dict]:
    return json.loads(content)["entries"]


def test_R3_an_intent_is_durable_before_its_copy_and_the_copy_before_the_effect(
    world: World,
) -> None:
    seen: dict[str, list[bool]] = {}

    def acts(call, _context):
        other = open_database(world.state)
        kinds = [
            e.kind
            for e in Journal(other, world.clock).entries(call.run_id)
            if e.step == call.step_id
        ]
        sealed = [line for content in world.copied.values() for line in lines_of(content)]
        copied = any((line["step"], line["kind"]) == (call.step_id, "intent") for line in sealed)
        seen[call.step_id] = [kinds == ["intent"], copied]
        other.close()

    world.marks.during = dict.fromkeys(world.fakes, acts)
    run = world.start()
    assert set(seen) == set(world.fakes)
    assert all(durable for durable, _ in seen.values()), seen
    careful = {name for name, action in world.fakes.items() if action.effect.must_look}
    assert careful == {"hold", "acquire", "fence", "cutover"}
    assert all(seen[name][1] for name in careful), seen
    assert run.local_only is False


def test_R3_a_copy_tells_another_machine_all_that_was_begun(world: World) -> None:
    run = world.start()
    journal = world.journal()
    seen = [line for _, content in sorted(world.copied.items()) for line in lines_of(content)]
    assert [line["seq"] for line in seen] == [e.seq for e in journal.entries(run.id)]
    for name, content in world.copied.items():
        record = json.loads(content)["run"]
        assert name.startswith(f"runs/{run.id}/000-")
        assert (record["id"], record["plan_checksum"]) == (run.id, run.plan_checksum)
        assert record["plan"] == journal.plan(run.id).to_json()


def test_R3_a_run_whose_intent_reached_no_store_is_marked_local_only(world: World) -> None:
    world.copies_work = False
    run = world.start()
    assert run.state is RunState.COMMITTED
    assert run.local_only is True


def test_R3_a_run_without_any_store_is_local_only(world: World) -> None:
    journal = Journal(world.database, world.clock)
    run = journal.open_run(world.plan(), sandbox=False)
    assert run.local_only is False
    journal.append(run.id, "intent", step="acquire", attempt=1)
    assert journal.run(run.id).local_only is True


def test_R4_a_second_open_run_is_refused_and_names_the_first(world: World) -> None:
    journal = world.journal()
    first = journal.open_run(world.plan(), sandbox=False)
    with pytest.raises(RunOpen, match=first.id) as caught:
        journal.open_run(world.plan(), sandbox=False)
    assert f"drkit runs resume {first.id}" in caught.value.hint
    assert f"drkit runs rollback {first.id}` takes it back, and leads users" in caught.value.hint
    assert [run.id for run in journal.runs()] == [first.id]
    assert len(journal.entries(first.id)) == 1


def test_R4_a_drill_may_be_open_beside_a_failover_and_is_told_to_give_way(world: World) -> None:
    journal = world.journal()
    drill = journal.open_run(world.plan("drill"), sandbox=False)
    failover = journal.open_run(world.plan("failover"), sandbox=False)
    assert journal.run(drill.id).interrupted_by == failover.id
    assert journal.run(failover.id).interrupted_by is None


def test_R4_a_run_that_ended_makes_room(world: World) -> None:
    first = world.start()
    assert first.ended_at is not None
    assert world.start().id != first.id


def test_R4_of_many_threads_at_a_barrier_one_opens_a_run(world: World) -> None:
    barrier, opened, refused = threading.Barrier(8), [], []
    plan = world.plan()

    def race() -> None:
        barrier.wait()
        try:
            opened.append(world.journal().open_run(plan, sandbox=False).id)
        except RunOpen:
            refused.append(1)

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(opened), len(refused)) == (1, 7)


def _race(path, plan, clock, barrier, results) -> None:
    journal = Journal(open_database(path), clock)
    barrier.wait(timeout=30)
    try:
        journal.open_run(plan, sandbox=False)
        results.put("opened")
    except RunOpen:
        results.put("refused")


def test_R4_of_several_processes_at_a_barrier_one_opens_a_run(world: World) -> None:
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(4), context.Queue()
    world.database.close()
    arguments = (world.state, world.plan(), world.clock, barrier, results)
    processes = [context.Process(target=_race, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    said = sorted(results.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(timeout=30)
    assert said == ["opened", "refused", "refused", "refused"]


def _hold(path, run_id, clock, claimed, release) -> None:
    Journal(open_database(path), clock).claim(run_id)
    claimed.set()
    release.wait(30)


def test_a_run_that_a_living_process_has_cannot_be_claimed_and_a_dead_ones_can(
    world: World,
) -> None:
    context = multiprocessing.get_context("fork")
    run = world.journal().open_run(world.plan(), sandbox=False)
    world.database.close()
    claimed, release = context.Event(), context.Event()
    other = context.Process(
        target=_hold,
        args=(world.state, run.id, world.clock, claimed, release),
    )
    other.start()
    assert claimed.wait(30)
    with pytest.raises(ClaimLost, match=str(other.pid)):
        world.journal().claim(run.id)
    other.kill()
    other.join(30)
    assert world.journal().claim(run.id).pid is not None


def test_R5_only_the_last_claim_may_write(world: World) -> None:
    first, second = world.journal(), world.journal()
    run = first.open_run(world.plan(), sandbox=False)
    first.claim(run.id)
    assert first.holds(run.id)
    second.claim(run.id)
    assert not first.holds(run.id)
    count = len(second.entries(run.id))
    with pytest.raises(ClaimLost):
        first.append(run.id, "note", payload={"text": "too late"})
    with pytest.raises(ClaimLost):
        first.set_state(run.id, RunState.PREFLIGHT)
    assert len(second.entries(run.id)) == count
    assert second.run(run.id).state is RunState.PLANNED


def test_a_move_that_the_table_does_not_know_is_refused(world: World) -> None:
    journal = world.journal()
    run = journal.open_run(world.plan(), sandbox=False)
    with pytest.raises(ValueError, match="from PLANNED to COMMITTED"):
        journal.set_state(run.id, RunState.COMMITTED)
    assert len(journal.entries(run.id)) == 1


def test_elapsed_time_does_not_follow_a_wall_clock_that_jumps(world: World) -> None:
    journal = world.journal()
    run = journal.open_run(world.plan(), sandbox=False)
    world.clock.advance(5)
    world.clock._now -= timedelta(hours=3)
    entry = journal.append(run.id, "note", payload={})
    assert entry.elapsed_s == 5.0
    later = world.journal()  # the next process cannot know, but it never runs backwards
    world.clock.advance(2)
    assert later.append(run.id, "note", payload={}).elapsed_s >= 5.0


def test_elapsed_time_goes_on_over_the_pause_between_two_processes(world: World) -> None:
    journal = world.journal()
    run = journal.open_run(world.plan(), sandbox=False)
    world.clock.advance(600)
    assert world.journal().append(run.id, "note", payload={}).elapsed_s == 600.0


def test_a_run_is_found_by_a_start_of_its_id(world: World) -> None:
    first = world.start()
    world.clock.advance(60)
    second = world.start()
    journal = world.journal()
    assert [run.id for run in journal.runs()] == [second.id, first.id]
    assert journal.run("latest").id == second.id
    assert journal.run(first.id[:-1]).id == first.id
    with pytest.raises(ConfigError, match="several"):
        journal.run("failover-")
    with pytest.raises(ConfigError, match="no run"):
        journal.run("nothing")


def test_entries_after_a_line_are_the_new_ones(world: World) -> None:
    run = world.start()
    entries = world.journal().entries(run.id)
    assert world.journal().entries(run.id, after_seq=10) == entries[10:]


def test_the_point_and_its_cut_become_known_to_the_run(world: World) -> None:
    journal = world.journal()
    run = journal.open_run(world.plan(), sandbox=True, first_failed_probe_at=world.clock.now())
    assert run.first_failed_probe_at == world.clock.now()
    cut_at = world.clock.now() - timedelta(minutes=7)
    assert journal.record(run.id, point_cut_at=cut_at, epoch=3).point_cut_at == cut_at
    assert journal.run(run.id).epoch == 3
