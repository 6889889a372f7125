"""Weights are read with the packs, and mended from the other mirror when asked to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from drkit.config.sources import WeightsSource
from drkit.events import Note, discard
from drkit.mirror.write import mirror_weights
from drkit.operations.check_weights import check_weights
from drkit.stores.memory import MemoryStore

SOURCE = WeightsSource(kind="weights", path="/m", model="m", revision="r", stores=("gcs", "s3"))


def mirrors(folder: Path) -> list[MemoryStore]:
    (folder / "model").mkdir()
    (folder / "model" / "weights.bin").write_bytes(bytes(range(256)) * 100)
    stores = [MemoryStore(name) for name in ("gcs", "s3", "b2")]
    mirror_weights(
        folder / "model",
        model="m",
        revision="r",
        stores=stores[:2],
        cache=folder / "cache.json",
        emit=discard,
    )
    return stores


def test_damage_is_found_without_repair_and_mended_with_it(tmp_path: Path) -> None:
    stores = mirrors(tmp_path)
    stores[0].damage("weights/m/r/weights.bin", at=1000)
    (found,) = check_weights({"w": SOURCE}, stores, repair=False, emit=discard)
    assert (found.store, found.path, found.healed_from) == ("gcs", "weights.bin", "")
    (mended,) = check_weights({"w": SOURCE}, stores, repair=True, emit=discard)
    assert mended.healed_from == "s3"
    assert check_weights({"w": SOURCE}, stores, repair=False, emit=discard) == ()


def test_stores_that_are_not_meant_to_hold_them_are_left_alone(tmp_path: Path) -> None:
    stores = mirrors(tmp_path)
    assert check_weights({"w": SOURCE}, stores[2:], repair=True, emit=discard) == ()
    assert stores[2].calls == []


def test_weights_that_are_nowhere_are_told(tmp_path: Path) -> None:
    told: list[Any] = []
    empty = [MemoryStore("gcs"), MemoryStore("s3")]
    assert check_weights({"w": SOURCE}, empty, repair=True, emit=told.append) == ()
    assert any(isinstance(event, Note) and "not checked" in event.text for event in told)
