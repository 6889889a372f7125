"""What the daemon's log says of an outage, and what a new leader catches up on."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from drkit.clock import ManualClock
from drkit.events import Event
from drkit.service.children import End
from drkit.service.daemon import Daemon
from drkit.service.jobs import PlannedJob
from drkit.service.repeats import AGAIN_AFTER_S, Repeats

PROBE = PlannedJob("watch", ("probe",), 30.0, None, deadline_s=100.0)
BACKUP = PlannedJob("point", ("backup",), 3600.0, None, deadline_s=100.0)


class Ends:
    def __init__(self, status: int) -> None:
        self._status = status

    def poll(self) -> int:
        return self._status

    def send(self, _number: object) -> None: ...


def daemon(folder: Path, clock: ManualClock, told: list[str], **more: Any) -> Daemon:
    def emit(event: Event) -> None:
        told.append(getattr(event, "text", ""))

    return Daemon([PROBE, BACKUP], [], folder=folder, clock=clock, emit=emit, **more)


def test_an_outage_is_told_once_then_each_hour_and_when_it_is_over(tmp_path: Path) -> None:
    clock, told, outcome = ManualClock(), [], [20, "the arbiter gave no answer in 10.01 s"]

    def launch(_job: PlannedJob, log: Path) -> Any:
        log.write_text(f"{outcome[1]}\n")
        return Ends(int(outcome[0]))

    one = daemon(tmp_path, clock, told, launch=launch)
    for number in range(200):
        outcome[1] = f"the arbiter gave no answer in 10.{number:02} s"
        one.run_job(PROBE)
        clock.advance(30)
    assert len(told) == 4  # two lines, and an hour later two more
    assert "still so" in told[2]
    outcome[1] = "the primary does not answer either"
    one.run_job(PROBE)
    assert told[-1] == "  the primary does not answer either"
    outcome[:] = [0, "all is well"]
    one.run_job(PROBE)
    assert told[-1].startswith("well again, after 201 times")
    one.run_job(PROBE)
    assert told[-1].startswith("done in")


def test_each_job_has_its_own_outage() -> None:
    repeats = Repeats()
    assert repeats.failed("one", ["no answer"], 0.0) == ""
    assert repeats.failed("two", ["no answer"], 0.0) == ""
    assert repeats.failed("one", ["no answer"], 1.0) is None
    assert repeats.failed("one", ["no answer"], AGAIN_AFTER_S) is not None
    assert repeats.well("two", 2.0) == ""
    assert repeats.well("one", AGAIN_AFTER_S)
    assert End.DEADLINE.value


def test_a_new_leader_makes_the_backup_at_once_that_the_former_one_missed(tmp_path: Path) -> None:
    clock, told, changed = ManualClock(), [], []
    cut_at = clock.now() - timedelta(hours=2)

    def change(name: str, **values: Any) -> None:
        changed.append((name, values["next_run_time"]))

    one = daemon(
        tmp_path,
        clock,
        told,
        launch=lambda _job, _log: Ends(0),
        read_cuts=lambda _stopping: {"sncp": cut_at},
        rpo_s={"sncp": None},
    )
    one.catch_up(change)
    assert changed == [("point", clock.now())]
    cut_at = clock.now() - timedelta(minutes=5)
    one.catch_up(change)
    assert len(changed) == 1  # the former leader made it
