"""What an unchanged hourly run asks of each of three stores."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from bench.case import AtMost, Bench, Case, Command, Contender
from bench.data import write_small_files
from bench.places import PROJECT
from bench.tools import PASSWORD, deployment, drkit, run

CODE = """
import sys
from bench.workloads import back_up_counted
back_up_counted(*sys.argv[1:])
"""
HOURS = 3


def prepare(bench: Bench) -> list[Contender]:
    source = bench.root / "source"
    source.mkdir()
    write_small_files(source, 500)
    config = deployment(bench.root / "drkit", {"tree": source}, stores=("gcs", "s3", "b2"))
    for _ in range(HOURS):
        run(drkit(config, "backup"))
    told = bench.root / "told.json"
    command = Command(
        (sys.executable, "-c", CODE, config, told),
        {"PYTHONPATH": str(PROJECT), "RESTIC_PASSWORD": PASSWORD},
    )
    return [Contender("drkit", (command,), after=partial(_figures, told))]


def _figures(told: Path) -> Mapping[str, float]:
    found: dict[str, float] = json.loads(told.read_text())
    assert found.pop("new") == 0, found
    return found


CASE = Case(
    "hourly_requests",
    "an unchanged hourly run, three stores: the most that one of them is asked",
    prepare,
    bars=(AtMost("requests", 12, stretch=8),),
)
