"""After `drkit backup --sandbox` of real files, stock restic alone finds no error and restores."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
STORES = ("gcs", "s3", "b2")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment whose sandbox holds a point of real files, and is down."""
    place = tmp_path_factory.mktemp("deployment")
    real = [sys.executable, PROJECT / "tests" / "tools" / "real_tree.py", place / "real"]
    subprocess.run([*real, "--each", "100"], check=True)
    shutil.copy(PROJECT / "schedules.yaml", place)
    shutil.copytree(PROJECT / "runbooks", place / "runbooks")
    backup = [sys.executable, "-m", "drkit", "backup", "--sandbox", "--data", "real"]
    subprocess.run(backup, cwd=place, env={**os.environ, "PYTHONPATH": str(PROJECT)}, check=True)
    return place


def listing(root: Path) -> list[bytes]:
    everything = "%P\\t%y\\t%m\\t%U:%G\\t%n\\t%T@\\t%l\\0"
    find = ["find", ".", "-mindepth", "1", "-printf", everything]
    found = subprocess.run(find, cwd=root, check=True, capture_output=True)
    return sorted(found.stdout.split(b"\0"))


@pytest.mark.parametrize("store", STORES)
def test_every_store_is_sound_and_gives_back_the_very_files(
    restic: Path, place: Path, tmp_path: Path, store: str
) -> None:
    sandbox = place / ".drkit" / "sandbox"
    password = ["--password-file", sandbox / "restic-password"]
    repository = ["-r", sandbox / "stores" / store / "repository", "--no-cache"]
    for verb in (["check", "--read-data"], ["restore", "latest", "--target", tmp_path]):
        subprocess.run([restic, *repository, *password, *verb], check=True, timeout=60)
    for name, source in (("sncp", place / "real"), ("history", sandbox / "sources" / "history")):
        difference = ["diff", "-r", "--no-dereference", source, tmp_path / name]
        assert subprocess.run(difference).returncode == 0
        assert listing(tmp_path / name) == listing(source)
