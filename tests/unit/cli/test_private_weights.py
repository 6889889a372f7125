"""Weights of `mode: repository`, as commands keep, check, restore and erase them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from drkit.cli.main import app
from drkit.repository import create
from drkit.repository.format import keys
from drkit.repository.format.keys import ScryptCost

CONFIG = """\
drkit: 1
stores:
  disk: {kind: folder, role: primary, path: disk}
  copy: {kind: folder, role: backup, path: copy}
repository: {password: "file:password"}
sources:
  ours: {kind: weights, mode: repository, path: model, model: ours, revision: "7"}
"""
SECRET = b"tuned on what nobody else may read"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cheap = ScryptCost(16, 8, 1)
    monkeypatch.setattr(keys, "calibrated_cost", lambda _clock: cheap)
    monkeypatch.setattr(create, "ScryptCost", lambda: cheap)
    (tmp_path / "model").mkdir()
    noise = random.Random(5).randbytes(300_000)
    (tmp_path / "model" / "model.safetensors").write_bytes(noise)
    (tmp_path / "model" / "README.md").write_bytes(SECRET)
    (tmp_path / "password").write_text("correct horse")
    (tmp_path / "schedules.yaml").write_text(CONFIG)
    return tmp_path


def run(place: Path, *words: str, status: int = 0) -> list[dict[str, Any]]:
    config = ("--config", str(place / "schedules.yaml"), "--json")
    done = CliRunner().invoke(app, [*words, *config])
    assert done.exit_code == status, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


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
