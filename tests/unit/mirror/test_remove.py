"""A mirrored revision goes for good: what the plan said, manifest first, each store by itself."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from drkit.errors import GuardRefused
from drkit.events import discard
from drkit.mirror.manifest import MANIFEST
from drkit.mirror.remove import Removal, plan_removal, remove_mirror
from drkit.mirror.write import mirror_weights
from drkit.stores.interface import Retained
from drkit.stores.memory import MemoryStore, Trouble

UNTIL = datetime(2027, 1, 1, tzinfo=UTC)
FOLDER = "weights/m/r/"


class Locked(MemoryStore):
    """Keeps the shards, as under object lock."""

    def delete(self, name: str) -> None:
        if name.endswith(".safetensors"):
            raise Retained(f"{name} is locked", hint="wait", until=UNTIL)
        super().delete(name)


@pytest.fixture
def stores(model: Path, tmp_path: Path) -> list[MemoryStore]:
    stores = [MemoryStore("gcs"), Locked("s3"), MemoryStore("b2")]
    for revision in ("r", "r2"):
        mirror_weights(
            model,
            model="m",
            revision=revision,
            stores=stores[:2],
            cache=tmp_path / f"{revision}.json",
            emit=discard,
        )
    return stores


def apply(stores: list[MemoryStore]) -> dict[str, Removal]:
    checksum = plan_removal(stores, "m", "r").checksum
    done = remove_mirror(stores, "m", "r", checksum=checksum, emit=discard)
    return {removal.store: removal for removal in done}


def test_K6_a_plan_changes_nothing_and_another_one_is_not_done(stores: list[MemoryStore]) -> None:
    before = [dict(store.objects) for store in stores]
    plan = plan_removal(stores, "m", "r")
    assert (plan.files, plan.empty) == (6, False)
    assert plan.bytes == 2 * sum(
        len(content) for name, content in before[0].items() if name.startswith(FOLDER)
    )
    with pytest.raises(GuardRefused, match="nothing was done"):
        remove_mirror(stores, "m", "r", checksum="0" * 12, emit=discard)
    assert [store.objects for store in stores] == before


def test_K6_what_a_store_must_keep_is_told_with_its_date_and_the_rest_goes(
    stores: list[MemoryStore],
) -> None:
    done = apply(stores)
    assert (done["gcs"].left, done["b2"].left) == (0, 0)
    assert (done["s3"].left, done["s3"].until) == (2, UNTIL)
    left = [name for name in stores[1].objects if name.startswith(FOLDER)]
    assert [name.rpartition(".")[2] for name in left] == ["safetensors"] * 2
    for store in stores[:2]:  # the other revision is whole
        assert sum(name.startswith("weights/m/r2/") for name in store.objects) == 6
    assert plan_removal(stores[::2], "m", "r").empty


def test_the_manifest_goes_first_and_a_store_that_dies_is_gone_on_with(
    stores: list[MemoryStore],
) -> None:
    gcs = stores[0]
    gcs.calls.clear()
    gcs.fail(Trouble.UNREACHABLE, calls=["delete"], after=2)
    assert apply(stores)["gcs"].left == 4
    deleted = [name for call, name in gcs.calls if call == "delete"]
    assert deleted[0] == FOLDER + MANIFEST
    gcs.mend()
    assert apply(stores)["gcs"] == Removal("gcs")


def test_a_store_that_refuses_the_manifest_keeps_all_and_one_that_is_away_is_told(
    stores: list[MemoryStore],
) -> None:
    before = dict(stores[0].objects)
    stores[0].fail(Trouble.REFUSES, calls=["delete"])
    stores[2].down = True
    done = apply(stores)
    assert stores[0].objects == before
    assert done["gcs"].left == 6 and "refuses" in done["gcs"].why
    assert done["b2"].why and plan_removal(stores, "m", "r").away.keys() == {"b2"}
