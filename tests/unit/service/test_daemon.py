"""Deadlines, stops and words of the daemon, with children that are told how to behave."""

import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from drkit.clock import ManualClock
from drkit.config.cron import parse_cron
from drkit.events import Event, Note
from drkit.service.children import End, supervise
from drkit.service.daemon import Daemon, cron_trigger
from drkit.service.jobs import PlannedJob

JOB = PlannedJob("point", ("backup",), 60.0, None, deadline_s=100.0)


class FakeChild:
    """Ends with `status` at `at_s`, or `after_term_s` after SIGTERM, or at once by SIGKILL."""

    def __init__(
        self,
        clock: ManualClock,
        *,
        at_s: float = float("inf"),
        after_term_s: float = float("inf"),
        status: int = 0,
    ) -> None:
        self._clock = clock
        self._ends_s = clock.elapsed_s() + at_s
        self._after_term_s = after_term_s
        self._status = status
        self.received: list[tuple[signal.Signals, float]] = []

    def poll(self) -> int | None:
        return self._status if self._clock.elapsed_s() >= self._ends_s else None

    def send(self, number: signal.Signals) -> None:
        now_s = self._clock.elapsed_s()
        self.received.append((number, round(now_s)))
        wait_s = 0 if number is signal.SIGKILL else self._after_term_s
        self._ends_s = min(self._ends_s, now_s + wait_s)


def never() -> bool:
    return False


def test_a_child_that_ends_by_itself_gets_no_signal() -> None:
    clock = ManualClock()
    child = FakeChild(clock, at_s=5, status=3)

    ended = supervise(child, deadline_s=10, stopping=never, clock=clock)

    assert (ended.how, ended.status, round(ended.spent_s)) == (End.BY_ITSELF, 3, 5)
    assert child.received == []


def test_at_its_deadline_a_child_is_asked_to_end() -> None:
    clock = ManualClock()
    child = FakeChild(clock, after_term_s=2)

    ended = supervise(child, deadline_s=10, stopping=never, clock=clock)

    assert ended.how is End.DEADLINE
    assert child.received == [(signal.SIGTERM, 10)]


def test_a_child_that_does_not_listen_is_killed_after_its_grace() -> None:
    clock = ManualClock()
    child = FakeChild(clock)

    supervise(child, deadline_s=10, stopping=never, clock=clock, grace_s=20)

    assert child.received == [(signal.SIGTERM, 10), (signal.SIGKILL, 30)]


def test_when_the_daemon_stops_a_child_is_asked_at_once() -> None:
    clock = ManualClock()
    child = FakeChild(clock, after_term_s=1)

    ended = supervise(child, deadline_s=100, stopping=lambda: True, clock=clock)

    assert ended.how is End.STOPPED
    assert child.received == [(signal.SIGTERM, 0)]


Told = list[tuple[str, str, str]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def run_once(clock: ManualClock, folder: Path, child: FakeChild, output: str = "") -> Told:
    told: Told = []

    def emit(event: Event) -> None:
        assert isinstance(event, Note)
        told.append((event.level, event.subject, event.text))

    def launch(_job: PlannedJob, log: Path) -> FakeChild:
        log.write_text(output)
        return child

    Daemon([JOB], [], launch=launch, folder=folder, clock=clock, emit=emit).run_job(JOB)
    return told


def test_a_job_that_went_well_is_one_line(clock: ManualClock, tmp_path: Path) -> None:
    told = run_once(clock, tmp_path, FakeChild(clock, at_s=1), "a\npoint 1234 in 3 stores\n")

    assert told == [("info", "point", "done in 1.0 s: point 1234 in 3 stores")]


@pytest.mark.parametrize(
    ("status", "level"), [(1, "error"), (3, "warning"), (11, "warning"), (20, "error")]
)
def test_a_job_that_did_not_says_why(
    status: int, level: str, clock: ManualClock, tmp_path: Path
) -> None:
    told = run_once(clock, tmp_path, FakeChild(clock, at_s=1, status=status), "error: s3 is away\n")

    assert [row[0] for row in told] == [level, level]
    assert told[0][2].startswith(f"exit status {status} after 1.0 s")
    assert told[1][2] == "  error: s3 is away"


def test_a_job_that_hung_is_an_error(clock: ManualClock, tmp_path: Path) -> None:
    told = run_once(clock, tmp_path, FakeChild(clock, after_term_s=1))

    assert told[0][0] == "error"
    assert "stopped at its deadline after" in told[0][2]


def test_a_program_that_cannot_be_started_is_told_and_harms_nothing(tmp_path: Path) -> None:
    told: list[Event] = []

    def launch(_job: PlannedJob, _log: Path) -> FakeChild:
        raise OSError("no memory")

    daemon = Daemon(
        [JOB], [], launch=launch, folder=tmp_path, clock=ManualClock(), emit=told.append
    )
    daemon.run_job(JOB)

    assert told == [Note("error", "point", "could not be started: no memory")]


def test_once_it_stops_no_job_begins(tmp_path: Path) -> None:
    started: list[PlannedJob] = []

    def launch(job: PlannedJob, _log: Path) -> FakeChild:
        started.append(job)
        raise AssertionError

    daemon = Daemon(
        [JOB], [], launch=launch, folder=tmp_path, clock=ManualClock(), emit=lambda _event: None
    )
    daemon.stop()
    daemon.run_job(JOB)

    assert started == []


def times(line: str, start: datetime, count: int) -> list[datetime]:
    """The next `count` times at which the scheduler would start a job."""
    trigger = cron_trigger(parse_cron(line))
    found: list[datetime] = []
    former = None
    while len(found) < count:
        former = trigger.get_next_fire_time(former, start)
        found.append(former)
        start = former + timedelta(seconds=1)
    return found


MONDAY = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("40 5 * * 0", ["06-07 05:40", "06-14 05:40"]),
        ("20 4 * * *", ["06-02 04:20", "06-03 04:20"]),
        ("0 9 1 1,4,7,10 *", ["07-01 09:00", "10-01 09:00"]),
        ("0 0 13 * 5", ["06-05 00:00", "06-12 00:00", "06-13 00:00", "06-19 00:00"]),
        ("*/30 * * * 1", ["06-01 12:00", "06-01 12:30"]),
    ],
)
def test_the_scheduler_starts_jobs_when_cron_would(line: str, expected: list[str]) -> None:
    found = times(line, MONDAY, len(expected))

    assert [f"{at:%m-%d %H:%M}" for at in found] == expected
