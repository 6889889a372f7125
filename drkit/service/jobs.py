"""The schedules as jobs: which command line each runs, and what this version leaves out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drkit.config.cron import CronLine, parse_cron

if TYPE_CHECKING:
    from drkit.config.models import Job

IN_THIS_VERSION = ("backup", "check", "probe", "prune", "run-drill")


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """`arguments` follow `drkit`; it runs every `every_s` seconds, or when `cron` says.

    `sources`: those that a backup cuts; () is all.
    """

    name: str
    arguments: tuple[str, ...]
    every_s: float | None
    cron: CronLine | None
    deadline_s: float
    sources: tuple[str, ...] = ()

    @property
    def run(self) -> str:
        return self.arguments[0] if self.arguments else ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A schedule that is valid and cannot be run; it is told at the start."""

    name: str
    reason: str


def plan_jobs(schedules: Mapping[str, Job]) -> tuple[tuple[PlannedJob, ...], tuple[LeftOut, ...]]:
    """Every schedule, as a job or as left out."""
    jobs = []
    left_out = []
    for name, job in schedules.items():
        if job.run not in IN_THIS_VERSION:
            left_out.append(LeftOut(name, f"not in this version: {job.run}"))
            continue
        arguments: list[str] = [job.run]
        if job.run in ("check", "probe"):
            arguments.append("--due")
        if job.repair:
            arguments.append("--repair")
        if job.run == "prune":
            arguments.append("--forget")
        for source in job.sources:
            arguments += ["--source", source]
        if job.to is not None:
            arguments += ["--to", job.to]
        cron = parse_cron(job.cron) if job.cron is not None else None
        planned = PlannedJob(name, tuple(arguments), job.every, cron, job.deadline, job.sources)
        jobs.append(planned)
    return tuple(jobs), tuple(left_out)
