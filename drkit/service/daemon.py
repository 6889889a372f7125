"""The daemon: a clock that starts commands. Each job is the command an operator would type.

The scheduler only says when; what runs is a child process with a deadline, so a job that hangs
takes nothing with it, and cron could do the same work.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

from drkit.clock import Clock
from drkit.config.cron import WEEKDAYS, CronLine
from drkit.errors import GuardRefused
from drkit.events import Emit, Note
from drkit.service.children import GRACE_S, Child, End, Ended, supervise
from drkit.service.jobs import LeftOut, PlannedJob
from drkit.service.leading import Leading
from drkit.service.overdue import Known, ReadCuts, first_time
from drkit.service.repeats import Repeats
from drkit.stores.durable import write_file

_POLL_S = 0.2
_LATE_S = 60
# Exit statuses after which the next time may well be better: in part, locked.
_PASSING = {3, 11}
_LINES_TOLD = 20


class Daemon:
    """Runs `jobs` at their times until it is told to stop. One per `folder`, where logs are kept.

    `launch(job, log)` starts a job, unless `leading` says that it is not this daemon's. At the
    start `read_cuts` says when each source was last cut (None: the stores did not say), so that
    what is overdue runs at once; until it has answered only backups wait. `rpo_s` names every
    source, with its limit.
    """

    def __init__(
        self,
        jobs: Sequence[PlannedJob],
        left_out: Sequence[LeftOut],
        *,
        launch: Callable[[PlannedJob, Path], Child],
        folder: Path,
        clock: Clock,
        emit: Emit,
        read_cuts: ReadCuts = lambda _stopping: None,
        rpo_s: Mapping[str, float | None] | None = None,
        grace_s: float = GRACE_S,
        leading: Leading | None = None,
    ) -> None:
        self._leading = leading or Leading(None)
        self._jobs = jobs
        self._left_out = left_out
        self._launch = launch
        self._folder = folder
        self._clock = clock
        self._emit = emit
        self._read_cuts = read_cuts
        self._rpo_s = rpo_s or {}
        self._grace_s = grace_s
        self._stopping = False
        self._repeats = Repeats()

    def stop(self, *_signal: object) -> None:
        """No job begins from now on, and those that run are asked to end. For signal handlers."""
        self._stopping = True

    def run(self) -> None:
        """Until `stop`; then waits for the children. `GuardRefused` when one runs already."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with _only_one(self._folder / "lock"), self._leading:
            scheduler = self._scheduler()
            for left in self._left_out:
                self._tell("warning", left.name, f"left out: {left.reason}")
            former = {
                number: signal.signal(number, self.stop)
                for number in (signal.SIGTERM, signal.SIGINT)
            }
            try:
                scheduler.start()
                self._tell("info", "daemon", f"{len(self._jobs)} jobs; process {os.getpid()}")
                ended = {job.name: at for job in self._jobs if (at := self._last_end(job))}
                self._schedule(scheduler, Known(None, ended), backups=False)
                cuts = self._read_cuts(lambda: self._stopping) if self._has_backups() else None
                self._schedule(scheduler, Known(cuts, ended), backups=True)
                led = self._leading.leads()
                while not self._stopping:
                    self._clock.sleep(_POLL_S)
                    led, before = self._leading.leads(), led
                    if led and not before:
                        self.catch_up(scheduler.modify_job)
            finally:
                self._stopping = True
                self._tell("info", "daemon", "stops: no new jobs, waits for those that run")
                scheduler.shutdown(wait=True)
                for number, handler in former.items():
                    signal.signal(number, handler)
            self._tell("info", "daemon", "stopped")

    def run_job(self, job: PlannedJob) -> None:
        """One time of one job, from start to end, in words."""
        if self._stopping or self._leading.why_not(job.run) is not None:
            return
        log = self._folder / f"{job.name}.log"
        try:
            child = self._launch(job, log)
        except OSError as error:
            self._tell("error", job.name, f"could not be started: {error}")
            return
        ended = supervise(
            child,
            deadline_s=job.deadline_s,
            stopping=lambda: self._stopping,
            clock=self._clock,
            grace_s=self._grace_s,
        )
        if ended.how is not End.STOPPED:
            write_file(self._end_file(job), self._clock.now().isoformat().encode())
        self._tell_end(job, ended, log)

    def _tell_end(self, job: PlannedJob, ended: Ended, log: Path) -> None:
        spent = f"{ended.spent_s:.1f} s"
        lines, now_s = _last_lines(log), self._clock.elapsed_s()
        if ended.how is End.STOPPED:
            self._tell("info", job.name, f"{ended.how.value} after {spent}")
        elif ended.how is not End.BY_ITSELF:
            again = self._repeats.failed(job.name, [ended.how.value], now_s)
            if again is not None:
                self._tell("error", job.name, f"{again}{ended.how.value} after {spent}")
        elif ended.status == 0:
            before = self._repeats.well(job.name, now_s)
            said = f": {lines[-1]}" if lines else ""
            self._tell("info", job.name, f"{before}done in {spent}{said}")
        else:
            again = self._repeats.failed(job.name, [str(ended.status), *lines], now_s)
            if again is None:
                return
            level = "warning" if ended.status in _PASSING else "error"
            status = f"exit status {ended.status} after {spent}"
            self._tell(level, job.name, f"{again}{status}; {log} says:")
            for line in lines:
                self._tell(level, job.name, f"  {line}")

    def catch_up(self, change_job: Callable[..., object]) -> None:
        """Backups that are overdue when this daemon begins to lead: whoever led may have died in
        the middle of one, or before it.
        """
        if not self._has_backups():
            return
        ended = {job.name: at for job in self._jobs if (at := self._last_end(job))}
        known = Known(self._read_cuts(lambda: self._stopping), ended)
        for job in self._jobs:
            if job.run != "backup":
                continue
            now = self._clock.now()
            first = first_time(job, known, self._rpo_s, now, _next_time)
            if first.at is not None and first.at <= now and not self._stopping:
                why = first.why or "its time went by"
                self._tell("warning", job.name, f"this daemon leads now: {why}")
                change_job(job.name, next_run_time=now)

    def _has_backups(self) -> bool:
        return any(job.run == "backup" for job in self._jobs)

    def _end_file(self, job: PlannedJob) -> Path:
        return self._folder / f"{job.name}.ended"

    def _last_end(self, job: PlannedJob) -> datetime | None:
        """When the job last ended, as this daemon or a former one saw it."""
        try:
            return datetime.fromisoformat(self._end_file(job).read_text())
        except (OSError, ValueError):
            return None

    def _schedule(self, scheduler: Any, known: Known, *, backups: bool) -> None:
        """Gives these jobs to the scheduler, each with its first time."""
        from apscheduler.triggers.interval import IntervalTrigger

        now = self._clock.now()
        for job in self._jobs:
            if (job.run == "backup") is not backups or self._stopping:
                continue
            first = first_time(job, known, self._rpo_s, now, _next_time)
            if first.why:
                self._tell("warning", job.name, first.why)
            when: dict[str, Any] = {"next_run_time": first.at} if first.at else {}
            when["trigger"] = (
                cron_trigger(job.cron)
                if job.cron is not None
                else IntervalTrigger(seconds=job.every_s or 0, timezone="UTC")
            )
            # After a suspended machine awakes, what was missed runs once; a drill is only told.
            late_s = _LATE_S if job.run == "run-drill" else None
            added = scheduler.add_job(
                self.run_job, args=(job,), id=job.name, misfire_grace_time=late_s, **when
            )
            self._tell("info", job.name, f"first runs at {added.next_run_time:%Y-%m-%d %H:%M:%S}")

    def _scheduler(self) -> Any:
        from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED
        from apscheduler.executors.pool import ThreadPoolExecutor
        from apscheduler.schedulers.background import BackgroundScheduler

        logging.getLogger("apscheduler").setLevel(logging.CRITICAL)  # its events are told below
        scheduler = BackgroundScheduler(
            timezone="UTC",
            executors={"default": ThreadPoolExecutor(max(1, len(self._jobs)))},
            job_defaults={"max_instances": 1, "coalesce": True},
        )
        scheduler.add_listener(
            lambda event: self._tell("warning", event.job_id, "still runs; this time is left out"),
            EVENT_JOB_MAX_INSTANCES,
        )
        scheduler.add_listener(
            lambda event: self._tell("warning", event.job_id, f"missed {_at(event)}"),
            EVENT_JOB_MISSED,
        )
        return scheduler

    def _tell(self, level: Any, subject: str, text: str) -> None:
        self._emit(Note(level, subject, text))


def cron_trigger(line: CronLine) -> Any:
    """The scheduler's trigger for `line`, with cron's meaning of days and weekdays."""
    from apscheduler.triggers.combining import OrTrigger
    from apscheduler.triggers.cron import CronTrigger

    def trigger(**days: str) -> Any:
        times = {"minute": line.minutes, "hour": line.hours, "month": line.months}
        fixed = {name: ",".join(map(str, numbers)) for name, numbers in times.items()}
        return CronTrigger(second="0", timezone="UTC", **fixed, **days)

    day = ",".join(map(str, line.days))
    weekday = ",".join(WEEKDAYS[number] for number in line.weekdays)
    if line.either_day:
        return OrTrigger([trigger(day=day), trigger(day_of_week=weekday)])
    return trigger(day=day, day_of_week=weekday)


def _next_time(line: CronLine, after: datetime) -> datetime | None:
    following: datetime | None = cron_trigger(line).get_next_fire_time(
        None, after + timedelta(seconds=1)
    )
    return following


def _at(event: Any) -> str:
    at: datetime = event.scheduled_run_time
    return f"its time at {at:%Y-%m-%d %H:%M:%S} UTC"


def _only_one(lock: Path) -> IO[str]:
    """The lock, held while it is open; the kernel lets go of it when the process ends."""
    file = lock.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        pid = file.read(20).strip() or "unknown"
        file.close()
        raise GuardRefused(
            f"a daemon runs here already: process {pid} holds {lock}",
            hint="stop that one first; one daemon runs all schedules",
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def _last_lines(log: Path) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-_LINES_TOLD:]
