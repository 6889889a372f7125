"""What stops a way home, and what is left when it dies: nothing lost, nothing merged, one home."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from failback_world import BOOK, FORMER, POINTS, PRIMARY, TARGET, WRITTEN, Away, files

from drkit.coordination.interface import RoleRecord
from drkit.errors import ConfigError
from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.book.plan import Serving, make_plan
from drkit.runs.records import RunState
from drkit.traffic.interface import Setting

if TYPE_CHECKING:
    from conftest import Crash


def test_what_is_still_written_at_the_target_stops_it_before_the_final_point(away: Away) -> None:
    pause = away.world.clock.sleep

    def writes(seconds: float) -> None:
        pause(seconds)
        (away.away / "late.md").write_text(f"{away.world.clock.elapsed_s()}")

    away.world.clock.sleep = writes  # type: ignore[method-assign]
    run = away.start()
    assert run.state is RunState.NEEDS_OPERATOR
    assert not any(e.step == "point" for e in away.world.journal().entries(run.id))
    assert away.world.switches[1].read().held
    away.world.clock.sleep = pause  # type: ignore[method-assign]
    assert away.resume(run).state is RunState.COMMITTED
    assert "late.md" in files(away.home)


def test_R12_what_was_written_away_after_the_final_point_is_asked_about_and_not_lost_unseen(
    away: Away,
) -> None:
    def late(step: str, point: str) -> None:
        if (step, point) == ("swap", "before-intent"):
            (away.away / "late.md").write_text("too late\n")

    run = away.start(breakpoint=late)
    assert run.state is RunState.NEEDS_OPERATOR
    assert files(away.home) == FORMER
    assert away.resume(run).state is RunState.COMMITTED
    assert files(away.home) == WRITTEN
    assert (away.away / "late.md").exists()


def test_a_gateway_that_lets_users_through_is_no_fence(away: Away) -> None:
    def released(step: str, point: str) -> None:
        if (step, point) == ("fence", "after-intent"):
            away.world.switches[1].set_by_another(Setting(False, TARGET))

    run = away.start(breakpoint=released)
    assert run.state is RunState.NEEDS_OPERATOR
    assert not any(e.step == "point" for e in away.world.journal().entries(run.id))


def test_Q4_what_home_has_alone_is_shown_first_kept_and_not_merged(away: Away) -> None:
    (away.home / "stranded.md").write_text("written by a primary that was fenced\n")
    run = away.start()
    assert run.state is RunState.NEEDS_OPERATOR
    (asked,) = [
        e
        for e in away.world.journal().entries(run.id)
        if (e.step, e.kind) == ("divergence", "failed")
    ]
    assert "stranded.md" in str(asked.payload["error"])
    assert files(away.home) == FORMER | {"stranded.md": "written by a primary that was fenced\n"}
    assert away.resume(run).state is RunState.COMMITTED
    assert files(away.home) == WRITTEN
    (kept,) = away.beside
    assert "stranded.md" in files(kept)
    written = away.output(run, "divergence")["written"]["sncp"]
    assert set(written["named"]) == {"M /a.md", "+ /new.md"}


@pytest.mark.parametrize("step", ["hold", "point", "restore", "swap", "cutover", "release"])
@pytest.mark.parametrize("point", POINTS)
def test_R5_killed_anywhere_it_is_resumed_to_one_home(
    away: Away, crash: type[Crash], step: str, point: str
) -> None:
    with pytest.raises(crash):
        away.start(breakpoint=away.world.crash_at(step, point))
    run = away.resume(away.world.journal().run("latest"))
    assert run.state is RunState.COMMITTED
    assert files(away.home) == WRITTEN
    assert len(away.beside) == 1
    assert away.world.compute.find({}) == []
    assert [each.value for each in away.world.switches[0].history] == [PRIMARY, TARGET, PRIMARY]
    assert away.role.epoch == 4


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_R5_a_swap_that_died_between_two_renames_is_finished_or_taken_back(
    away: Away, monkeypatch: pytest.MonkeyPatch, crash: type[Crash], renames: int
) -> None:
    from drkit.runs.actions import swap_home

    rename, done = swap_home._rename, []

    def dies(old: Path, new: Path) -> None:
        if len(done) == renames:
            raise crash("in the middle")
        done.append(old)
        rename(old, new)

    monkeypatch.setattr(swap_home, "_rename", dies)
    if renames < 2:
        with pytest.raises(crash):
            away.start()
        monkeypatch.setattr(swap_home, "_rename", rename)
        run = away.resume(away.world.journal().run("latest"))
    else:
        run = away.start()
    assert run.state is RunState.COMMITTED
    assert files(away.home) == WRITTEN
    (kept,) = away.beside
    assert files(kept) == FORMER


def test_R7_somebody_who_made_a_new_folder_in_the_middle_of_a_swap_keeps_it(
    away: Away, monkeypatch: pytest.MonkeyPatch, crash: type[Crash]
) -> None:
    from drkit.runs.actions import swap_home

    rename = swap_home._rename

    def dies(old: Path, new: Path) -> None:
        rename(old, new)
        raise crash("after the first")

    monkeypatch.setattr(swap_home, "_rename", dies)
    with pytest.raises(crash):
        away.start()
    monkeypatch.setattr(swap_home, "_rename", rename)
    away.home.mkdir()
    (away.home / "mine.md").write_text("made meanwhile\n")
    run = away.resume(away.world.journal().run("latest"))
    assert run.state is not RunState.COMMITTED
    said = [str(e.payload.get("error")) for e in away.world.journal().entries(run.id)]
    assert any("somebody made it meanwhile" in text for text in said)
    everything = [path.name for place in (away.home, *away.beside) for path in place.iterdir()]
    assert "mine.md" in everything
    assert {"a.md", "b.md"} <= set(everything)


def test_a_folder_at_the_target_that_vanished_does_not_come_home_empty(away: Away) -> None:
    shutil.rmtree(away.away)
    run = away.start()
    assert run.state is RunState.ROLLED_BACK
    assert files(away.home) == FORMER
    assert not any(each.held for each in away.world.switches[1].history)


def test_R2_a_failback_of_who_no_longer_serves_is_refused(away: Away) -> None:
    lease = away.world.arbiter.acquire("assistant", "here", ttl_s=60)
    role = RoleRecord("assistant", 7, "runpod", None, away.world.clock.now(), "later", ())
    away.world.arbiter.record_role(lease, role)
    away.world.arbiter.release(lease)
    assert away.start().state is RunState.ROLLED_BACK
    assert not any(each.held for each in away.world.switches[1].history)


def test_R12_a_failback_needs_to_know_who_serves_and_is_no_drill(away: Away) -> None:
    for kind, serving, said in (
        ("failback", None, "who serves now"),
        ("drill", Serving("coreweave"), "is not executed as a drill"),
    ):
        with pytest.raises(ConfigError, match=said):
            make_plan(
                BOOK,
                config=away.world.config,
                kind=kind,  # type: ignore[arg-type]
                target="coreweave",
                actions=ACTIONS,
                serving=serving,
            )
