"""`drkit doctor` by the real command: what it says, what it ends with, what it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from real_command import said

PROJECT = Path(__file__).resolve().parents[2]
SCHEDULES = """
drkit: 1
stores:
  near: {kind: folder, role: primary, path: near, region: eu-central-1}
  far:
    kind: s3
    role: backup
    bucket: example-drkit
    endpoint: http://127.0.0.1:1
    access_key_id: cmd:cat key-id
    secret_access_key: [env:NONE, file:key]
repository: {password: env:PASSWORD}
sources:
  sncp: {kind: tree, path: ., residency: eu}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "schedules.yaml").write_text(SCHEDULES)
    (tmp_path / "key-id").write_text("id\n")
    (tmp_path / "key").write_text("planted-secret\n")
    return tmp_path


def doctor(folder: Path, *words: str, **environ: str) -> tuple[int, str]:
    status, text = said(folder, "doctor", *words, **environ)
    assert "planted" not in text
    return status, text


def test_a_sound_store_ends_with_0_and_keeps_nothing_of_the_probe(folder: Path) -> None:
    status, said = doctor(folder, "--store", "near", "--json")
    rows = [json.loads(line) for line in said.splitlines()]
    found = {row["check"]: row["level"] for row in rows if row["message_type"] == "finding"}
    assert (status, rows[-1]["verdict"]) == (0, "ok")
    assert found["reach"] == found["residency"] == "ok"
    assert not [path for path in (folder / "near").rglob("*") if path.is_file()]


def test_a_store_that_is_away_ends_with_20_and_a_lacking_secret_with_2(folder: Path) -> None:
    status, said = doctor(folder, "--store", "far")
    assert status == 20, said
    assert "ok      stores.far.access_key_id secret: resolves (cmd)" in said
    assert "resolves (file); not: $NONE is not set" in said
    assert "PROBLEM far reach" in said
    assert "->" in said
    status, said = doctor(folder, "--json")
    rows = [json.loads(line) for line in said.splitlines()]
    lacking = [row for row in rows if row.get("subject") == "repository.password"]
    assert status == 2
    assert [row["level"] for row in lacking] == ["problem"]
    assert all(row["advice"] for row in rows if row.get("level") == "problem")


def test_a_store_that_is_not_there_is_a_usage_error(folder: Path) -> None:
    status, said = doctor(folder, "--store", "nowhere")
    assert status == 2
    assert "near, far" in said
