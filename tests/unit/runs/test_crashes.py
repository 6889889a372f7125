"""Every step, every point: the process dies there and the run is resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lint_world import shipped_runbook

from drkit.io_policy import LONGEST_EFFECT_S
from drkit.runs.journal.journal import Journal
from drkit.runs.records import RunState

if TYPE_CHECKING:
    from conftest import Crash, World

STEPS = tuple(step.id for step in shipped_runbook().steps)
POINTS = ("before-intent", "after-intent", "after-effect", "after-record")


@pytest.mark.parametrize("kind", ["failover", "drill"])
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("step", STEPS)
def test_a_crash_anywhere_is_resumed_and_nothing_is_done_twice(
    world: World, crash: type[Crash], step: str, point: str, kind: str
) -> None:
    with pytest.raises(crash):
        world.start(kind, breakpoint=world.crash_at(step, point))
    (died,) = world.journal().runs()
    assert not died.state.ended
    run = world.resume(died.id)
    assert run.state is (RunState.COMMITTED if kind == "failover" else RunState.DONE)
    assert run.outcome == ("committed" if kind == "failover" else "passed")
    assert run.plan_checksum == died.plan_checksum == world.journal().plan(run.id).checksum
    for name, action in world.fakes.items():
        if action.effect.must_look:
            assert world.marks.count[name] == 1, name
        else:
            assert world.marks.count[name] in (1, 2), name
    entries = world.journal().entries(run.id)
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    elapsed = [entry.elapsed_s for entry in entries]
    assert elapsed == sorted(elapsed)


@pytest.mark.parametrize("point", ["after-intent", "after-effect"])
def test_what_a_crash_left_open_is_named_when_the_run_is_taken_up(
    world: World, crash: type[Crash], point: str
) -> None:
    with pytest.raises(crash):
        world.start(breakpoint=world.crash_at("acquire", point))
    run = world.resume(world.journal().run("latest").id)
    (resumed,) = [e for e in world.journal().entries(run.id) if e.kind == "resumed"]
    assert "acquire" in resumed.payload["unknown"]
    (done,) = [
        e for e in world.journal().entries(run.id) if e.step == "acquire" and e.kind == "done"
    ]
    assert done.payload["adopted"] is (point == "after-effect")


@pytest.mark.parametrize("undone_before", [0, 1, 2])
def test_a_rollback_that_dies_is_finished_by_the_next_process(
    world: World, crash: type[Crash], undone_before: int
) -> None:
    from drkit.errors import VerificationFailed

    world.marks.fail["verify"] = [VerificationFailed("wrong", hint="look")]
    order = ["restore", "acquire", "hold"]
    dies_at = order[undone_before]
    world.marks.undo_fail[dies_at] = [crash("in the undo")]  # type: ignore[list-item]
    with pytest.raises(crash):
        world.start()
    died = world.journal().run("latest")
    assert died.state is RunState.ROLLING_BACK
    run = world.resume(died.id)
    assert run.state is RunState.ROLLED_BACK
    assert sorted(world.marks.undone) == ["acquire", "hold", "restore"]


def test_a_failover_that_dies_between_its_outcome_and_its_end_is_committed_not_torn_down(
    world: World, crash: type[Crash], monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_arguments: object, **_named: object) -> None:
        raise crash

    with monkeypatch.context() as patch:
        record = Journal.record

        def recorded(journal: Journal, run_id: str, **known: object) -> object:
            run = record(journal, run_id, **known)  # type: ignore[arg-type]
            if known.get("outcome"):
                patch.setattr(Journal, "set_state", dies)
            return run

        patch.setattr(Journal, "record", recorded)
        with pytest.raises(crash):
            world.start()
    died = world.journal().run("latest")
    assert (died.state, died.outcome) == (RunState.OBSERVING, "committed")
    run = world.resume(died.id)
    assert (run.state, run.outcome) == (RunState.COMMITTED, "committed")
    assert not world.marks.undone


@pytest.mark.parametrize(
    ("step", "point", "waits"),
    [
        ("cutover", "after-intent", True),
        ("acquire", "after-effect", True),
        ("cutover", "before-intent", False),
        ("verify", "after-intent", False),
    ],
)
def test_T3_what_a_process_that_died_may_have_sent_is_outwaited(
    world: World, crash: type[Crash], step: str, point: str, waits: bool
) -> None:
    with pytest.raises(crash):
        world.start(breakpoint=world.crash_at(step, point))
    died_s = world.clock.elapsed_s()
    moved_s: list[float] = []

    def looks(at_step: str, at_point: str) -> None:
        if at_point == "after-effect" and at_step in ("acquire", "cutover"):
            moved_s.append(world.clock.elapsed_s())

    assert world.resume(world.journal().run("latest").id, breakpoint=looks).outcome == "committed"
    assert (moved_s[0] - died_s >= LONGEST_EFFECT_S) is waits
