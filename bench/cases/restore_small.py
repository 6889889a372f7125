"""A full restore of 20,000 small text files (400 MB), from one folder."""

from __future__ import annotations

from bench.case import AtMost, Bench, Case, Contender, Faster
from bench.data import small_files
from bench.restores import restores


def prepare(bench: Bench) -> list[Contender]:
    return restores(bench, small_files(bench))


CASE = Case(
    "restore_small",
    "full restore, 20,000 text files, one folder store",
    prepare,
    bars=(Faster("restic", 1.3, stretch=2), AtMost("peak_mb", 400)),
    needs_bytes=3 << 30,
)
