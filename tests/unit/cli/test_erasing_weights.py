"""`drkit erase --weights`: a mirrored revision that no source has goes, by its own plan (K6)."""

from __future__ import annotations

from pathlib import Path

import pytest
from two_folders import STORES, use_cheap_keys, write_deployment
from two_folders import answer as run

CONFIG = (
    STORES
    + """\
sources:
  notes: {kind: tree, path: notes}
  model: {kind: weights, path: model, model: tiny, revision: r1, stores: [disk, copy]}
"""
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    use_cheap_keys(monkeypatch)
    for name in ("notes", "model"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file.bin").write_bytes(name.encode() * 100)
    write_deployment(tmp_path, CONFIG)
    run(tmp_path, "init")
    run(tmp_path, "backup")
    return tmp_path


def mirrored(place: Path) -> list[str]:
    return [
        store for store in ("disk", "copy") if (place / store / "weights/tiny/r1/file.bin").exists()
    ]


def test_K6_they_go_from_every_store_once_no_source_has_them(place: Path) -> None:
    run(place, "erase", "--weights", "tiny@r1", status=24)
    (place / "schedules.yaml").write_text(CONFIG.replace("revision: r1", "revision: r2"))
    run(place, "backup", status=0)
    (plan,) = [row for row in run(place, "erase", "--weights", "tiny@r1") if "plan" in row]
    assert (plan["stores"], len(plan["points"])) == ({"disk": 2, "copy": 2}, 1)
    assert mirrored(place) == ["disk", "copy"]
    run(place, "erase", "--weights", "tiny@r1", "--apply", "0" * 12, status=24)
    run(place, "erase", "--weights", "tiny@r1", "--apply", plan["plan"], "--dry-run")
    assert mirrored(place) == ["disk", "copy"]
    done = run(place, "erase", "--weights", "tiny@r1", "--apply", plan["plan"])
    said = {row["store"]: row["state"] for row in done if row["message_type"] == "erased"}
    assert said == {"disk": "removed", "copy": "removed"}
    assert mirrored(place) == []
    run(place, "check", "--read-data")  # the revision that is in use is whole
    (again,) = [row for row in run(place, "erase", "--weights", "tiny@r1") if "plan" in row]
    assert again["bytes"] == 0


@pytest.mark.parametrize("named", ["tiny", "@r1", "tiny@", "../x@r1", "tiny@a/b"])
def test_what_names_no_weights_is_refused(place: Path, named: str) -> None:
    run(place, "erase", "--weights", named, status=2)


def test_weights_are_erased_by_themselves(place: Path) -> None:
    run(place, "erase", "/notes", "--weights", "tiny@r0", status=2)
