"""A first backup of 20,000 small text files."""

from __future__ import annotations

from bench.backups import first_backups
from bench.case import AtMost, Bench, Case, Contender, Faster
from bench.data import small_files


def prepare(bench: Bench) -> list[Contender]:
    return first_backups(bench, small_files(bench))


CASE = Case(
    "backup_small",
    "first backup of 20,000 text files, 400 MB",
    prepare,
    bars=(Faster("restic", 2, stretch=3), AtMost("peak_mb", 400)),
    needs_bytes=1 << 30,
)
