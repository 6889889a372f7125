"""A full restore of 2 GiB that no compression shrinks, in 4 files, from one folder."""

from __future__ import annotations

from bench.case import AtMost, Bench, Case, Contender, Faster
from bench.data import large_files
from bench.restores import restores


def prepare(bench: Bench) -> list[Contender]:
    return restores(bench, large_files(bench))


CASE = Case(
    "restore_large",
    "full restore, 2 GiB incompressible in 4 files, one folder store",
    prepare,
    bars=(Faster("restic", 1.7, stretch=3), AtMost("peak_mb", 400)),
    needs_bytes=10 << 30,
)
