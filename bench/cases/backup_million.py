"""A backup of a million small files of which none changed: time and memory."""

from __future__ import annotations

from pathlib import Path

from bench.backups import later_backups
from bench.case import AtMost, Bench, Case, Contender, Faster


def prepare(bench: Bench) -> list[Contender]:
    def make(source: Path) -> None:
        for folder in range(int(10_000 * bench.scale)):
            place = source / f"{folder // 100:03}" / f"{folder % 100:03}"
            place.mkdir(parents=True)
            for number in range(100):
                (place / f"{number:03}").write_bytes(
                    b"%d of %d, and some words\n" % (number, folder)
                )

    return later_backups(bench, make)


CASE = Case(
    "backup_million",
    "backup of 1,000,000 small files, nothing changed",
    prepare,
    bars=(Faster("restic", 1, stretch=2), AtMost("peak_mb", 400, stretch=300)),
    needs_bytes=7 << 30,
    rounds=3,
)
