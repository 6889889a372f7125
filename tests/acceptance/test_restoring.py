"""restore by the real command: selectors, patterns, refusals, damage, on folders."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import real_command

PROJECT = Path(__file__).resolve().parents[2]
CONFIG = """
drkit: 1
stores:
  gcs: {kind: folder, role: primary, path: ./gcs}
  b2: {kind: folder, role: backup, path: ./b2}
repository: {password: env:TEST_PASSWORD}
sources:
  sncp: {kind: tree, path: ./source}
"""


class Here:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ask(self, *words: str) -> tuple[int, str]:
        done = real_command.asked(self.folder, *words, TEST_PASSWORD="one")
        return done.returncode, done.stdout + done.stderr

    def files(self, below: str) -> set[str]:
        root = self.folder / below
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared") / "here"
    source = folder / "source"
    (source / "notes" / "deep").mkdir(parents=True)
    for name in ("notes/one.md", "notes/two.txt", "notes/deep/three.md", "four.bin"):
        (source / name).write_bytes(name.encode() + os.urandom(3000))
    (folder / "schedules.yaml").write_text(CONFIG)
    here = Here(folder)
    for words in (["init"], ["backup"]):
        code, said = here.ask(*words)
        assert code == 0, said
    return folder


@pytest.fixture
def here(prepared: Path, tmp_path: Path) -> Here:
    shutil.copytree(prepared, tmp_path / "here", symlinks=True)
    return Here(tmp_path / "here")


def test_a_point_a_folder_and_a_choice_come_back(here: Here) -> None:
    assert here.ask("restore", "--target", "all", "--verify")[0] == 0
    assert here.files("all/sncp") == here.files("source")
    assert here.ask("restore", "latest:/sncp/notes", "-t", "notes", "-e", "deep")[0] == 0
    assert here.files("notes") == {"one.md", "two.txt"}
    code, said = here.ask("restore", "-t", "dry", "--dry-run")
    assert (code, "4 files" in said) == (0, True), said
    assert not (here.folder / "dry").exists()
    assert here.ask("restore", "latest:/nowhere", "-t", "none")[0] == 2


def test_R7_a_folder_in_use_is_written_to_only_when_it_is_named_twice(here: Here) -> None:
    edited = here.folder / "source" / "notes" / "one.md"
    edited.write_text("edited")
    (here.folder / "source").rename(here.folder / "sncp")
    edited = here.folder / "sncp" / "notes" / "one.md"
    for words in ([], ["--in-place", "--i-know", "other"]):
        code, said = here.ask("restore", "-t", ".", *words)
        assert (code, "--in-place --i-know sncp" in said) == (24, True), said
        assert edited.read_text() == "edited"
    words = ["restore", "-t", ".", "--in-place", "--i-know", "sncp"]
    assert here.ask(*words, "--overwrite", "never")[0] == 0
    assert edited.read_text() == "edited"
    assert here.ask(*words, "--overwrite", "if-changed")[0] == 0
    assert edited.read_bytes().startswith(b"notes/one.md")


def test_S11_damage_is_healed_or_named_by_path_and_the_rest_comes_back(here: Here) -> None:
    def damage(store: str) -> None:
        for pack in (here.folder / store / "repository" / "data").rglob("*"):
            if pack.is_file() and pack.stat().st_size > 8000:  # the one of the files
                content = bytearray(pack.read_bytes())
                content[600] ^= 1
                pack.write_bytes(content)

    shutil.rmtree(here.folder / ".drkit" / "cache")  # which has what was sent, and would heal too
    damage("gcs")
    code, said = here.ask("restore", "-t", "healed", "--verify")
    assert code == 0, said
    assert here.files("healed/sncp") == here.files("source")
    shutil.rmtree(here.folder / ".drkit" / "cache")
    damage("b2")
    code, said = here.ask("restore", "-t", "partly")
    assert code == 22, said
    lost = here.files("source") - here.files("partly/sncp")
    assert len(lost) == 1
    assert lost.pop() in said
    damage("b2")  # the same bit again: it is as it was
    code, said = here.ask("restore", "-t", "partly", "--json", "--verify")
    assert code == 0, said
    assert here.files("partly/sncp") == here.files("source")
    rows = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert rows[-1]["proofs"][0]["passed"]
