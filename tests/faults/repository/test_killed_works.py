"""kill -9, and power cuts, at drawn system calls of forget, prune, copy, erase and repair: what
stock restic sees is sound, and the next run needs no hand.

Seeded: 36 moments in CI, 450 in `make soak`, beside those of backups.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from killed_works import ERASED, ROLES, WORKS, opened
from killing import Killer

from drkit.repository.check.check import check_repository
from drkit.repository.erase.erase import plan_erase
from drkit.repository.erase.standing import erasure_standing
from drkit.repository.format.layout import (
    CONFIG,
    DATA,
    INDEX,
    KEYS,
    LOCKS,
    PRUNES,
    SNAPSHOTS,
    pack_name,
)

IN_CI, IN_SOAK = 4, 50
RESTIC_EVERY = 3


@dataclass(frozen=True)
class Start:
    """What a work begins with: two stores in `root`, `ids` of what it forgets, some days on."""

    root: Path
    source: Path
    ids: tuple[str, ...] = ()
    days: int = 0
    sound: bool = True
    """Whether restic finds no error even before the work is done."""
    work: str = ""


@pytest.fixture(scope="module")
def starts(kit: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Start]:
    """Where each work begins, by its name."""
    top = tmp_path_factory.mktemp("starts")
    source = top / "source"
    (source / "notes").mkdir(parents=True)
    five = opened(kit, top / "five").init()
    ids = []
    for number in range(5):
        (source / "noise.bin").write_bytes(random.Random(number).randbytes(50_000))
        (source / "notes" / f"{number}.md").write_text(f"note {number} " * 500)
        ids.append(five.backup(source, min_copies=2).snapshot_id)

    def copy_of(name: str, before: str) -> Path:
        shutil.copytree(top / before, top / name)
        return top / name

    def run(work: str, root: Path, days: int = 0) -> None:
        WORKS[work](kit, opened(kit, root, days), source, ids[:-1])

    run("forget", copy_of("forgotten", "five"))
    run("prune", copy_of("marked", "forgotten"))
    opened(kit, top / "empty").init()
    shutil.rmtree(copy_of("no indexes", "five") / "gcs" / INDEX)
    hurt = copy_of("hurt", "five")
    two = opened(kit, hurt)
    place = two.open().index.find(
        two.open().find_node(two.open().snapshots()[-1].snapshot, "/sncp/notes/2.md").content[0]
    )
    for name in ROLES:
        flip(hurt / name / pack_name(place.pack_id), place.offset + 20)
    run("repair packs", copy_of("saved", "hurt"))
    config = copy_of("no config", "five")
    (config / "gcs" / CONFIG).unlink()
    shutil.rmtree(config / "gcs" / KEYS)
    return {
        "forget": Start(top / "five", source, tuple(ids[:-1])),
        "prune that marks": Start(top / "forgotten", source, work="prune"),
        "prune that deletes": Start(top / "marked", source, days=1, work="prune"),
        "copy": Start(top / "empty", top / "five" / "gcs"),
        "erase": Start(top / "five", source),
        "repair index": Start(top / "no indexes", source, sound=False),
        "repair packs": Start(hurt, source, sound=False),
        "repair snapshots": Start(top / "saved", source, sound=False),
        "repair config": Start(config, source, sound=False),
    }


def flip(path: Path, at: int) -> None:
    held = bytearray(path.read_bytes())
    held[at] ^= 1
    path.write_bytes(held)


NAMES = (
    "forget",
    "prune that marks",
    "prune that deletes",
    "copy",
    "erase",
    "repair index",
    "repair packs",
    "repair snapshots",
    "repair config",
)


@pytest.mark.parametrize("name", NAMES)
def test_the_next_run_needs_no_hand_wherever_one_was_killed(
    kit: ModuleType, killer: Killer, starts: dict[str, Start], tmp_path: Path, name: str
) -> None:
    kill_many(kit, killer, starts[name], name, tmp_path, seed=1, rounds=IN_CI)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", NAMES)
def test_the_next_run_needs_no_hand_wherever_one_was_killed_for_long(
    kit: ModuleType, killer: Killer, starts: dict[str, Start], tmp_path: Path, name: str
) -> None:
    kill_many(kit, killer, starts[name], name, tmp_path, seed=2, rounds=IN_SOAK)


def kill_many(
    kit: ModuleType,
    killer: Killer,
    start: Start,
    name: str,
    top: Path,
    *,
    seed: int,
    rounds: int,
) -> None:
    rng = random.Random(f"{name} {seed}")
    work = start.work or name

    def run(root: Path, moment: int, days: int = start.days, power_cut: bool = False) -> int:
        arguments = {"days": days, "ids": start.ids, "power_cut": power_cut}
        return killer(root, start.source, work, moment, **arguments)  # type: ignore[arg-type]

    calls = run(copied(start, top / "whole"), 0)
    assert calls > 8
    killed = 0
    for number in range(rounds):
        here = top / str(number)
        root = copied(start, here / "stores")
        moment, power_cut = rng.randint(1, calls), bool(number % 2)
        told = f"{name}, round {number}: call {moment} of {calls}, power cut: {power_cut}"
        killed += run(root, moment, power_cut=power_cut) == 0
        with_restic = number % RESTIC_EVERY == 0
        if with_restic and start.sound:
            restic_finds_no_error(kit, root, told)
        run(root, 0)
        for days in range(start.days + 1, start.days + 5) if work in ("prune", "erase") else ():
            run(root, 0, days)
        check_end(kit, opened(kit, root), name, told)
        if with_restic and name != "repair packs":
            restic_finds_no_error(kit, root, told)
        shutil.rmtree(here)
    # calls of several threads are counted together: the last few may not be reached
    assert killed >= rounds * 0.8


def copied(start: Start, root: Path) -> Path:
    shutil.copytree(start.root, root)
    return root


def check_end(kit: ModuleType, two: Any, name: str, told: str) -> None:
    """After the next run: all that the work was to do is done, and nothing else."""
    found = check_repository(two.open(), read_data=True, emit=two.emit)
    lost = {each.path for each in found.lost}
    if name == "repair packs":
        assert lost == {"/sncp/notes/2.md"}, (told, found)
        assert not any(finding.name.startswith(INDEX) for finding in found.findings), told
    else:
        assert found.sound, (told, found)
    held = [{info.name for info in store.list("repository/")} for store in two.stores]
    for folder in (DATA, SNAPSHOTS, KEYS) if "prune" in name else (SNAPSHOTS, KEYS):
        of_each = [{one for one in names if one.startswith(folder)} for names in held]
        assert of_each[0] == of_each[1], (told, folder)
    snapshots = two.open().snapshots()
    expected = {"forget": 1, "prune that marks": 1, "prune that deletes": 1}
    assert len(snapshots) == expected.get(name, 5), told
    if name == "erase":
        assert plan_erase(two.open(), ERASED.__eq__, ()).empty, told
        states = [one.state for one in erasure_standing(two.open(), ROLES, two.emit).values()]
        assert states == ["removed", "removed"], told
    if name == "repair snapshots":
        repaired = [one for one in snapshots if "repaired" in one.snapshot.tags]
        assert 1 <= len(repaired) < 5, told
    for store in two.stores:
        assert not list(store.list(PRUNES)), told
        if not name.startswith("repair"):  # one that finds nothing to do takes no lock
            assert not list(store.list(LOCKS)), f"{told}: a lock is left"


def restic_finds_no_error(kit: ModuleType, root: Path, told: str) -> None:
    binary = shutil.which("restic")
    for name in ROLES if binary else ():
        repository = str(root / name / "repository")
        done = subprocess.run(
            [str(binary), "-r", repository, "--no-cache", "--no-lock", "check", "--read-data"],
            env={**os.environ, "RESTIC_PASSWORD": kit.PASSWORD},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, told + done.stdout + done.stderr
        assert "no errors were found" in done.stdout, told
