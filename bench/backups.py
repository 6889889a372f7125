"""Backups as cases run them: into new repositories, onto old ones, and over lines that hang."""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from bench.case import Bench, Contender
from bench.tools import deployment, drkit, restic, run
from bench.workloads import Far, opened
from drkit.events import discard
from drkit.repository.backup.archive import FreshTree, write_point
from drkit.stores.interface import Buffer, Store, StoreUnreachable

SILENT_S = 120.0


def first_backups(
    bench: Bench, source: Path, *, stores: tuple[str, ...] = ("gcs",)
) -> list[Contender]:
    """A backup of `source` into new repositories: drkit's in one pass, restic's one by one."""
    root = bench.root / "drkit"

    def renew() -> None:
        shutil.rmtree(root, True)
        deployment(root, {"tree": source}, stores=stores)

    found = [Contender("drkit", (drkit(root / "schedules.yaml", "backup"),), before=renew)]
    if bench.restic():
        places = [bench.root / f"restic-{name}" for name in stores]

        def renew_restic() -> None:
            for place in places:
                shutil.rmtree(place, True)
                run(restic(bench, place, "init"))

        commands = tuple(restic(bench, place, "backup", source) for place in places)
        found.append(Contender("restic", commands, before=renew_restic))
    return found


def later_backups(
    bench: Bench, make: Callable[[Path], None], change: Callable[[Path, int], None] | None = None
) -> list[Contender]:
    """A backup on top of one, of a tree that `make` makes. With `change`, which is given the round
    before each run, each contender has a tree of its own.
    """
    found = []
    for name in ("drkit", *(["restic"] if bench.restic() else [])):
        source = bench.root / (f"source-{name}" if change else "source")
        if not source.exists():
            source.mkdir()
            make(source)
        if name == "drkit":
            config = deployment(bench.root / name, {"tree": source})
            command = drkit(config, "backup")
        else:
            run(restic(bench, bench.root / name, "init"))
            command = restic(bench, bench.root / name, "backup", source)
        run(command)
        before = _Rounds(partial(change, source)) if change else None
        found.append(Contender(name, (command,), before=before))
    return found


class _Rounds:
    def __init__(self, act: Callable[[int], None]) -> None:
        self._act = act
        self._round = 0

    def __call__(self) -> None:
        self._round += 1
        self._act(self._round)


def change_small_files(source: Path, number: int) -> None:
    """Writes the first bytes of 1 % of the files anew."""
    rng = random.Random(number)
    files = sorted(path for path in source.rglob("*") if path.is_file())
    for path in rng.sample(files, max(1, len(files) // 100)):
        with path.open("r+b") as file:
            file.write(b"%d" % rng.getrandbits(60))


class FarSink(Far):
    """A far store that takes so many bytes, and from then on takes and answers nothing."""

    def __init__(self, name: str, root: Path, *, hangs_after_bytes: int | None) -> None:
        super().__init__(name, root, hangs=False)
        self._left = hangs_after_bytes
        self._guard = threading.Lock()

    def put(self, name: str, data: Buffer | Iterable[Buffer], *, size_bytes: int) -> None:
        self._wait()
        pieces = (data,) if isinstance(data, bytes | bytearray | memoryview) else data
        taken = []
        for piece in pieces:
            with self._guard:
                if self._left is not None:
                    self._left -= len(piece)
            self._wait()
            self._wire.carry(len(piece), latency=False)
            taken.append(piece)
        time.sleep(0.05)
        super().put(name, taken, size_bytes=size_bytes)

    def stat(self, name: str) -> Any:
        self._wait()
        return super().stat(name)

    def delete(self, name: str) -> None:
        self._wait()
        super().delete(name)

    def _wait(self) -> None:
        if self._left is not None and self._left <= 0:
            time.sleep(SILENT_S)
            raise StoreUnreachable("hung", hint="")


def back_up_from_afar(root: str, source: str, hangs_after_bytes: str) -> None:
    """Backs up into three far stores; the last one hangs after so many bytes ("": never)."""
    after = int(hangs_after_bytes) if hangs_after_bytes else None
    stores: list[Store] = [
        FarSink(name, Path(root, name), hangs_after_bytes=after if name == "b2" else None)
        for name in ("gcs", "s3", "b2")
    ]
    repository = opened(stores)
    report = write_point(
        repository,
        {"tree": FreshTree(Path(source))},
        finish=lambda reports: {},
        tags=(),
        time=repository.clock.now(),
        parent=None,
        min_copies=2,
        emit=discard,
    )
    whole = [result.store for result in report.stores if result.complete]
    assert len(whole) == (3 if after is None else 2), report.stores
