"""A backup of 20,000 small text files of which none changed."""

from __future__ import annotations

from pathlib import Path

from bench.backups import later_backups
from bench.case import AtMost, Bench, Case, Contender, Faster
from bench.data import write_small_files


def prepare(bench: Bench) -> list[Contender]:
    def make(source: Path) -> None:
        write_small_files(source, int(20_000 * bench.scale))

    return later_backups(bench, make)


CASE = Case(
    "backup_small_unchanged",
    "backup of 20,000 text files, nothing changed",
    prepare,
    bars=(Faster("restic", 1.8, stretch=3), AtMost("peak_mb", 400)),
    needs_bytes=2 << 30,
)
