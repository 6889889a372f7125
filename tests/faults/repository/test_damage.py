"""Any object of one store, damaged in any way: found by check, put back by repair, and the real
restic then finds no error in that store. Config and keys are mended only when the store is named.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from stock_restic import prove_sound

from drkit.repository.backup import blob_writer
from drkit.repository.check.check import check_repository
from drkit.repository.forget.forget import forget_snapshots
from drkit.repository.format.layout import (
    CONFIG,
    DATA,
    DELETIONS,
    DRKIT,
    INDEX,
    KEYS,
    RESTORE_TXT,
    SNAPSHOTS,
)
from drkit.repository.heal.heal import heal
from drkit.repository.heal.repair_config import repair_config
from drkit.stores.memory import MemoryStore

PROJECT = Path(__file__).parents[3]
SEED = 20261121
NAMES = ("gcs", "s3", "b2")
FOLDERS = {
    "pack": DATA,
    "index": INDEX,
    "snapshot": SNAPSHOTS,
    "record": DELETIONS,
    "config": CONFIG,
    "key": KEYS,
    "drkit.json": DRKIT,
    "RESTORE.txt": RESTORE_TXT,
}
BY_NAME = (CONFIG, KEYS, DRKIT, RESTORE_TXT)
CASES_IN_CI = 60
CASES_IN_SOAK = 1000

Objects = dict[str, bytes]


def flip(objects: Objects, name: str, rng: random.Random) -> None:
    content = bytearray(objects[name])
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    objects[name] = bytes(content)


def truncate(objects: Objects, name: str, rng: random.Random) -> None:
    objects[name] = objects[name][: rng.randrange(len(objects[name]))]


def extend(objects: Objects, name: str, rng: random.Random) -> None:
    objects[name] += rng.randbytes(rng.randrange(1, 100))


def zero(objects: Objects, name: str, rng: random.Random) -> None:
    """A hole of zeros, as a disk leaves one after a power cut."""
    at = rng.randrange(len(objects[name]))
    length = min(len(objects[name]) - at, 4096)
    content = bytearray(objects[name])
    content[at : at + length] = bytes(length)
    if bytes(content) == objects[name]:
        content[at] ^= 255
    objects[name] = bytes(content)


def swap(objects: Objects, name: str, rng: random.Random) -> None:
    """Another object of its kind takes its place, and it takes that one's."""
    folder = next(folder for folder in FOLDERS.values() if name.startswith(folder))
    others = sorted(n for n in objects if n.startswith(folder) and n != name)
    if others:
        other = rng.choice(others)
        objects[name], objects[other] = objects[other], objects[name]
    else:
        flip(objects, name, rng)


def replay(objects: Objects, name: str, rng: random.Random) -> None:
    """A valid object of another kind under its name."""
    others = sorted(n for n in objects if objects[n] != objects[name])
    objects[name] = objects[rng.choice(others)]


def delete(objects: Objects, name: str, rng: random.Random) -> None:
    del objects[name]


DAMAGES: tuple[Callable[[Objects, str, random.Random], None], ...] = (
    flip,
    truncate,
    extend,
    zero,
    swap,
    replay,
    delete,
)
CLASSES = [(damage, kind) for kind in FOLDERS for damage in DAMAGES]


@pytest.fixture(scope="module")
def prepared(kit: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Objects]:
    """What three stores hold after three points, in packs of 256 KiB."""
    source = kit.make_plain_tree(tmp_path_factory.mktemp("damage") / "source", files=6)
    (source / "large.bin").write_bytes(random.Random(3).randbytes(600_000))
    stores = [MemoryStore(name) for name in NAMES]
    of = kit.Kit(stores).init()
    packs, blob_writer.PACK_BYTES = blob_writer.PACK_BYTES, 256 << 10
    try:
        for number in range(3):
            (source / "notes" / f"later-{number}.md").write_text(f"point {number} " * 200)
            of.backup(source, min_copies=3)
        forget_snapshots(of.open(), {of.open().snapshots()[0].id: None}, of.emit)
    finally:
        blob_writer.PACK_BYTES = packs
    return {store.name: dict(store.objects) for store in stores}


def fresh(kit: ModuleType, prepared: dict[str, Objects]) -> Any:
    stores = []
    for name in NAMES:
        store = MemoryStore(name)
        store.objects = dict(prepared[name])
        stores.append(store)
    of = kit.Kit(stores)
    of.clock.sleep(3600)
    return of


def repository_part(objects: Objects) -> Objects:
    return {n: c for n, c in objects.items() if n.startswith(tuple(FOLDERS.values()))}


def damage_and_heal(kit: ModuleType, prepared: dict[str, Objects], case: int) -> MemoryStore:
    """The store of one seeded case, damaged, found, put back and found sound."""
    rng = random.Random(SEED + case)
    damage, kind = CLASSES[case % len(CLASSES)]
    of = fresh(kit, prepared)
    store = of.stores[(case // len(CLASSES) + case) % 3]
    name = rng.choice(sorted(n for n in store.objects if n.startswith(FOLDERS[kind])))
    damage(store.objects, name, rng)
    hurt = {
        n
        for n in prepared[store.name]
        if store.objects.get(n) != prepared[store.name][n] and n in repository_part(prepared["s3"])
    }
    said = f"case {case}: {damage.__name__} {name} of {store.name}"
    assert hurt, said

    repository = of.open()
    report = check_repository(repository, read_data=True, random=rng, emit=of.emit)
    checked = report.stores[store.name]
    assert not checked.sound, f"{said}: not found"
    named = {finding.name for finding in checked.findings}
    if damage is delete and kind in ("index", "snapshot", "record"):
        assert checked.lacks or named, said  # a store that only lagged would look the same
    elif store.name not in repository.unreachable:
        assert hurt <= named, f"{said}: found {named}"
    assert not report.lost, f"{said}: nothing is lost while two stores are whole: {report.lost}"
    for other in NAMES:
        assert other == store.name or report.stores[other].sound, said

    before = dict(store.objects)
    heal(repository, report, of.emit)
    if FOLDERS[kind] in BY_NAME:
        own = {n: c for n, c in store.objects.items() if n.startswith(BY_NAME)}
        assert own == {n: c for n, c in before.items() if n.startswith(BY_NAME)}, said
        assert set(repair_config(of.open(), store, of.emit)) == hurt, said
    assert repository_part(store.objects) == repository_part(prepared[store.name]), said
    again = check_repository(of.open(), read_data=True, random=rng, emit=of.emit)
    assert again.sound, f"{said}: {again.findings}"
    return store


def test_S8_S11_damage_of_every_class_is_found_and_put_back_to_the_byte(
    kit: ModuleType, prepared: dict[str, Objects]
) -> None:
    assert len(CLASSES) <= CASES_IN_CI
    for case in range(CASES_IN_CI):
        damage_and_heal(kit, prepared, case)
    print(f"{CASES_IN_CI} cases of damage")


def test_restic_finds_no_error_in_a_store_that_was_damaged_in_many_places(
    restic: Path, kit: ModuleType, prepared: dict[str, Objects], tmp_path: Path
) -> None:
    for turn in range(4):
        rng = random.Random(SEED - turn)
        of = fresh(kit, prepared)
        store = of.stores[turn % 3]
        objects = sorted(n for n in store.objects if n.startswith((DATA, INDEX, SNAPSHOTS)))
        for name in rng.sample(objects, 6):
            rng.choice(DAMAGES)(store.objects, name, rng)
        repository = of.open()
        report = check_repository(repository, read_data=True, random=rng, emit=of.emit)
        assert not report.stores[store.name].sound
        assert not heal(repository, report, of.emit).failed
        prove_sound(restic, kit.PASSWORD, store, tmp_path / str(turn))


@pytest.mark.soak
@pytest.mark.timeout(3500)
def test_a_thousand_damages_each_proved_by_restic(
    kit: ModuleType, prepared: dict[str, Objects], tmp_path: Path
) -> None:
    """Goes on where the last run was stopped: the number of the next case is kept in .drkit."""
    counter = PROJECT / ".drkit" / "tests" / "damage.next"
    first = int(counter.read_text()) if counter.exists() else 0
    binary = Path(shutil.which("restic") or pytest.skip("not installed: restic"))
    for case in range(first, CASES_IN_SOAK):
        store = damage_and_heal(kit, prepared, case)
        prove_sound(binary, kit.PASSWORD, store, tmp_path / "store")
        shutil.rmtree(tmp_path / "store")
        counter.parent.mkdir(parents=True, exist_ok=True)
        counter.write_text(str(case + 1))
    counter.unlink(missing_ok=True)
    print(f"{CASES_IN_SOAK} cases of damage, {CASES_IN_SOAK - first} in this run")
