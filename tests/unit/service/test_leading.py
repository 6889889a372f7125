"""Which jobs a daemon runs, by where it stands."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from drkit.clock import ManualClock
from drkit.coordination.leadership import STANDING_BY, Leadership, Position, Stand, watch_key
from drkit.coordination.memory import MemoryArbiter, MemoryPlace
from drkit.service import commands
from drkit.service.daemon import Daemon
from drkit.service.jobs import PlannedJob
from drkit.service.leading import Leading

ALL = {"backup", "check", "probe", "prune", "run-drill"}


def leadership(place: MemoryPlace, clock: ManualClock, name: str = "a") -> Leadership:
    return Leadership(MemoryArbiter(clock, place), "chat", name, clock, ttl_s=10)


def mine(leading: Leading) -> set[str]:
    return {command for command in ALL if leading.why_not(command) is None}


def test_a_daemon_that_watches_no_service_runs_everything() -> None:
    with Leading(None) as leading:
        assert mine(leading) == ALL


def test_who_leads_runs_everything_and_gives_the_lease_back_at_the_end() -> None:
    place, clock, told = MemoryPlace(), ManualClock(), []
    with Leading(leadership(place, clock), told.append) as leading:
        assert mine(leading) == ALL
        assert leading.given() is not None
    assert told == [Position(Stand.LEADS)]
    assert MemoryArbiter(clock, place).holding(watch_key("chat")) is None


def test_who_stands_by_probes_on_and_does_nothing_else() -> None:
    place, clock = MemoryPlace(), ManualClock()
    MemoryArbiter(clock, place).acquire(watch_key("chat"), "other", ttl_s=10)
    with Leading(leadership(place, clock)) as leading:
        assert mine(leading) == {"probe"}
        assert leading.given() is None
        assert "other holds the lease" in (leading.why_not("backup") or "")


@pytest.mark.parametrize("trouble", ["down", "clock"])
def test_R1_where_nobody_knows_who_leads_what_only_reads_or_adds_goes_on(trouble: str) -> None:
    place, clock = MemoryPlace(), ManualClock()
    place.down = trouble == "down"
    place.skew = 3600.0
    with Leading(leadership(place, clock)) as leading:
        assert mine(leading) == {"probe", "backup", "check"}
        assert leading.given() is None


def test_an_arbiter_that_hangs_does_not_hold_up_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drkit.service.leading._PATIENCE_S", 0.05)
    place, clock, hangs = MemoryPlace(), ManualClock(), threading.Event()
    place.skew_s = lambda: (hangs.wait(30), None)[1]  # type: ignore[method-assign]
    with Leading(leadership(place, clock)) as leading:
        assert mine(leading) == {"probe", "backup", "check"}
    hangs.set()


def test_a_job_that_is_not_this_daemons_is_not_started(tmp_path: Path) -> None:
    place, clock, started = MemoryPlace(), ManualClock(), []
    MemoryArbiter(clock, place).acquire(watch_key("chat"), "other", ttl_s=10)

    def launch(job: PlannedJob, _log: Path) -> None:
        started.append(job.name)
        raise OSError("enough")

    with Leading(leadership(place, clock)) as leading:
        daemon = Daemon(
            [], [], launch=launch, folder=tmp_path, clock=clock, emit=print, leading=leading
        )
        for name in ("backup", "probe"):
            daemon.run_job(PlannedJob(name, (name,), 60.0, None, deadline_s=10))
    assert started == ["probe"]
    assert list(tmp_path.iterdir()) == []


def test_a_command_is_told_in_whose_name_it_acts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    monkeypatch.setattr(commands, "ProcessChild", lambda _argv, _log, given: told.append(given))
    job = PlannedJob("probe", ("probe",), 60.0, None, deadline_s=10)
    place, clock = MemoryPlace(), ManualClock()
    with Leading(leadership(place, clock)) as leading:
        commands.launcher(Path("x"), sandbox=False, leading=leading)(job, tmp_path)
        clock.advance(10)
        commands.launcher(Path("x"), sandbox=False, leading=leading)(job, tmp_path)
    commands.launcher(Path("x"), sandbox=False)(job, tmp_path)
    assert "a" in told[0]["DRKIT_LEADER"]
    assert told[1:] == [STANDING_BY, STANDING_BY]
