"""The same 2 GiB into three folders in one pass, beside three runs of restic."""

from __future__ import annotations

from bench.backups import first_backups
from bench.case import AtMost, Bench, Case, Contender, Faster
from bench.data import large_files


def prepare(bench: Bench) -> list[Contender]:
    return first_backups(bench, large_files(bench), stores=("gcs", "s3", "b2"))


CASE = Case(
    "backup_three",
    "first backup of 2 GiB into three folder stores",
    prepare,
    bars=(Faster("restic", 6, stretch=10), AtMost("peak_mb", 400)),
    needs_bytes=13 << 30,
)
