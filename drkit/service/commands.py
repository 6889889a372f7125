"""The daemon's jobs as commands: `python -m drkit ...` on the same configuration."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from drkit.clock import Clock
from drkit.coordination.leadership import STANDING_BY
from drkit.events import Emit, Note
from drkit.service.children import Child, End, ProcessChild, supervise
from drkit.service.jobs import PlannedJob
from drkit.service.leading import Leading
from drkit.service.overdue import ReadCuts, cuts_of

_STATUS_S = 60.0


def launcher(
    config_path: Path, *, sandbox: bool, leading: Leading | None = None
) -> Callable[[PlannedJob, Path], Child]:
    """Starts a job as `python -m drkit ...` on the same configuration, and keeps what it says.

    The command is told whether the daemon that starts it leads: it may act only if it does.
    """

    def launch(job: PlannedJob, log: Path) -> Child:
        argv = [sys.executable, "-m", "drkit", *job.arguments, "--config", str(config_path)]
        given = leading.given() if leading else None
        environment = given.environment() if given else STANDING_BY
        quiet = ["--quiet", *(["--sandbox"] if sandbox else [])]
        return ProcessChild([*argv, *quiet], log, environment)

    return launch


def status_reader(
    config_path: Path, folder: Path, *, sandbox: bool, clock: Clock, emit: Emit
) -> ReadCuts:
    """Asks `drkit status` in a process of its own, so that a store that hangs holds nothing up."""

    def read(stopping: Callable[[], bool]) -> Mapping[str, datetime | None] | None:
        log = folder / "status.log"
        arguments = ("status", "--json")
        job = PlannedJob("status", arguments, None, None, deadline_s=_STATUS_S)
        child = launcher(config_path, sandbox=sandbox)(job, log)
        ended = supervise(child, deadline_s=_STATUS_S, stopping=stopping, clock=clock)
        lines = log.read_text(errors="replace").splitlines()
        cuts = cuts_of(lines, clock.now()) if ended.how is End.BY_ITSELF else {}
        if not cuts and not stopping():
            said = "the stores did not say how old their points are"
            emit(Note("warning", "daemon", f"{said}: backups run at once; {log} says why"))
        return cuts or None

    return read
