"""Weights of `mode: repository`, as commands keep, check, restore and erase them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from two_folders import STORES, use_cheap_keys, write_deployment
from two_folders import answer as run

CONFIG = (
    STORES
    + """\
sources:
  ours: {kind: weights, mode: repository, path: model, model: ours, revision: "7"}
"""
)
SECRET = b"tuned on what nobody else may read"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    use_cheap_keys(monkeypatch)
    (tmp_path / "model").mkdir()
    noise = random.Random(5).randbytes(300_000)
    (tmp_path / "model" / "model.safetensors").write_bytes(noise)
    (tmp_path / "model" / "README.md").write_bytes(SECRET)
    write_deployment(tmp_path, CONFIG)
    return tmp_path


def test_they_lie_sealed_in_every_store_heal_and_come_back_proved(place: Path) -> None:
    run(place, "init")
    run(place, "backup")
    for store in ("disk", "copy"):
        assert not (place / store / "weights").exists()
        held = [path.read_bytes() for path in (place / store).rglob("*") if path.is_file()]
        assert sum(map(len, held)) > 300_000
        assert not any(SECRET in content for content in held)
    (point,) = [row for row in run(place, "points") if "sources" in row]
    assert point["sources"] == "ours"

    packs = (path for path in (place / "disk" / "repository" / "data").rglob("*") if path.is_file())
    victim = max(packs, key=lambda path: path.stat().st_size)
    whole = victim.read_bytes()
    victim.write_bytes(whole[:9999] + bytes([whole[9999] ^ 1]) + whole[10000:])
    run(place, "check", "--read-data", "--repair")
    assert victim.read_bytes() == whole

    rows = run(place, "restore", "latest", "--target", str(place / "back"), "--verify")
    assert [proof["passed"] for row in rows for proof in row.get("proofs", ())] == [True]
    for name in ("model.safetensors", "README.md"):
        back = place / "back" / "ours" / name
        assert back.read_bytes() == (place / "model" / name).read_bytes()


def test_K6_a_revision_is_a_path_that_can_be_erased(place: Path) -> None:
    run(place, "init")
    run(place, "backup")
    (plan,) = [row for row in run(place, "erase", "/ours/README.md") if "plan" in row]
    assert (plan["paths"], plan["files"]) == (["/ours/README.md"], 1)
    assert "weights" not in {left["kind"] for left in plan["not_erased"]}
