"""Repairs that die at any of their writes: nothing more is lost, and the next run ends them."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from stock_restic import DyingStore

from drkit.repository.check.check import check_repository
from drkit.repository.forget.forget import forget_snapshots
from drkit.repository.forget.tagging import TagChange, retag
from drkit.repository.format.layout import DATA, INDEX, SNAPSHOTS, pack_name
from drkit.repository.heal.heal import heal
from drkit.repository.heal.rebuild_index import repair_index
from drkit.repository.heal.repair_config import repair_config
from drkit.repository.heal.salvage import damaged_packs, repair_packs, repair_snapshots
from drkit.stores.memory import MemoryStore

NAMES = ("gcs", "s3")
SEED = 20261121


Objects = list[dict[str, bytes]]
_hours: list[int] = []


@pytest.fixture(scope="module")
def whole(kit: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Objects:
    """What two stores hold after two points."""
    DyingStore.left = 10**9
    source = kit.make_plain_tree(tmp_path_factory.mktemp("killed") / "source", files=6)
    (source / "large.bin").write_bytes(random.Random(3).randbytes(400_000))
    two = kit.Kit([MemoryStore(name) for name in NAMES]).init()
    for number in range(2):
        (source / f"later-{number}.md").write_text(f"point {number}")
        two.backup(source, min_copies=2)
    return [dict(store.objects) for store in two.stores]


def opened(kit: ModuleType, objects: Objects) -> Any:
    DyingStore.left = 10**9
    stores = []
    for name, held in zip(NAMES, objects, strict=True):
        store = DyingStore(name)
        store.objects = dict(held)
        stores.append(store)
    two = kit.Kit(stores)
    _hours.append(2)
    two.clock.sleep(3600 * sum(_hours))  # locks of what died before are stale
    return two


def check(two: Any) -> Any:
    return check_repository(two.open(), read_data=True, random=random.Random(1), emit=two.emit)


def killed_at_every_write(
    kit: ModuleType, start: Objects, work: Callable[[Any], object], after: Callable[[Any], None]
) -> int:
    """Runs `work`, dead before its nth write for every n, then `after` on what is left."""
    for moment in range(500):
        two = opened(kit, start)
        DyingStore.left = moment
        try:
            work(two)
        except SystemExit:
            pass
        else:
            return moment
        finally:
            DyingStore.left = 10**9
        after(opened(kit, [store.objects for store in two.stores]))
    raise AssertionError("it never came to its end")


def test_putting_back(kit: ModuleType, whole: Objects) -> None:
    hurt = [dict(objects) for objects in whole]
    rng = random.Random(SEED)
    for folder in (DATA, INDEX, SNAPSHOTS):
        names = sorted(name for name in hurt[0] if name.startswith(folder))
        hurt[0][names[0]] = rng.randbytes(50)
        del hurt[0][names[-1]]

    def mend(two: Any) -> None:
        heal(two.open(), check(two), two.emit)

    def finish(two: Any) -> None:
        assert not check(two).lost
        mend(two)
        assert check(two).sound
        for store, before in zip(two.stores, whole, strict=True):
            assert (
                before.items()
                >= {
                    n: c for n, c in store.objects.items() if n.startswith((DATA, INDEX, SNAPSHOTS))
                }.items()
            )

    assert killed_at_every_write(kit, hurt, mend, finish) > 5


def test_indexes_made_anew(kit: ModuleType, whole: Objects) -> None:
    hurt = [{n: c for n, c in held.items() if not n.startswith(INDEX)} for held in whole]

    def finish(two: Any) -> None:
        repair_index(two.open(), two.emit)
        assert check(two).sound

    moments = killed_at_every_write(
        kit, hurt, lambda two: repair_index(two.open(), two.emit), finish
    )
    assert moments > 5


def test_saving_what_is_left(kit: ModuleType, whole: Objects) -> None:
    two = opened(kit, whole)
    repository = two.open()
    node = repository.find_node(repository.snapshots()[-1].snapshot, "/sncp/notes/003.md")
    place = repository.index.find(node.content[0])
    for store in two.stores:
        store.damage(pack_name(place.pack_id), at=place.offset + 9)
    hurt = [store.objects for store in two.stores]
    lost = {each.path for each in check(two).lost}
    assert lost == {"/sncp/notes/003.md"}

    def save(two: Any) -> None:
        repair_packs(two.open(), damaged_packs(two.open(), check(two)), two.emit)
        old = [one for one in two.open().snapshots() if "repaired" not in one.snapshot.tags]
        new_ids = repair_snapshots(two.open(), old, two.emit)
        forget_snapshots(two.open(), dict.fromkeys(new_ids), two.emit)

    def finish(two: Any) -> None:
        assert {each.path for each in check(two).lost} <= lost, "nothing more is lost than before"
        save(two)
        assert check(two).sound
        repaired = [one.snapshot for one in two.open().snapshots()]
        assert len({(one.time, one.tree) for one in repaired}) == len(repaired) == 2
        assert all("repaired" in one.tags for one in repaired)

    assert killed_at_every_write(kit, hurt, save, finish) > 15


def test_changed_tags(kit: ModuleType, whole: Objects) -> None:
    def change(two: Any) -> None:
        retag(two.open(), two.open().snapshots(), TagChange(add=("pinned",)), two.emit)

    def finish(two: Any) -> None:
        assert len({one.snapshot.time for one in two.open().snapshots()}) == 2
        change(two)
        found = two.open().snapshots()
        assert len(found) == 2, "each snapshot is there once"
        assert all("pinned" in one.snapshot.tags for one in found)
        assert all(one.stores == set(NAMES) for one in found)

    assert killed_at_every_write(kit, whole, change, finish) > 8


def test_config_and_keys_put_back_by_name(kit: ModuleType, whole: Objects) -> None:
    hurt = [dict(objects) for objects in whole]
    for name in [n for n in hurt[0] if n.startswith(("repository/config", "repository/keys/"))]:
        del hurt[0][name]

    def mend(two: Any) -> None:
        repair_config(two.open(), two.stores[0], two.emit)

    def finish(two: Any) -> None:
        mend(two)
        assert check(two).sound
        assert two.stores[0].objects.keys() >= whole[0].keys()

    assert killed_at_every_write(kit, hurt, mend, finish) == 2
