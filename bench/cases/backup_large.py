"""A first backup of 2 GiB that no compression shrinks, in 4 files, into one folder."""

from __future__ import annotations

from bench.backups import first_backups
from bench.case import AtMost, Bench, Case, Contender, Faster
from bench.data import large_files


def prepare(bench: Bench) -> list[Contender]:
    return first_backups(bench, large_files(bench))


CASE = Case(
    "backup_large",
    "first backup of 2 GiB, 4 files, one folder store",
    prepare,
    bars=(Faster("restic", 2.8, stretch=4), AtMost("peak_mb", 400)),
    needs_bytes=5 << 30,
)
