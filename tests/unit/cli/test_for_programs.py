"""Whatever people are told, programs are told with --json: causes, and what a dry run would do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from two_folders import STORES, type_in, use_cheap_keys, write_deployment

CONFIG = (
    STORES
    + """\
sources:
  notes: {kind: tree, path: notes, rpo_min: 60}
  logs: {kind: tree, path: notes}
"""
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "notes").mkdir()
    for number in range(20):
        (tmp_path / "notes" / f"{number}.md").write_text(f"note {number}\n")
    write_deployment(tmp_path, CONFIG)
    return tmp_path


@pytest.fixture
def run(place: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The lines of one type that a command answers with; it has to end with `status`."""
    use_cheap_keys(monkeypatch)

    def run(kind: str, *words: str, status: int = 0) -> list[dict[str, Any]]:
        done = type_in(place, *words, "--json")
        assert done.exit_code == status, done.output
        lines = map(json.loads, done.output.splitlines())  # what is told on standard error, too
        return [line for line in lines if line["message_type"] == kind]

    return run


def test_status_names_every_cause_of_how_it_ends(run: Any) -> None:
    run("init", "init")
    (verdict,) = run("verdict", "status", status=21)
    (cause,) = verdict["causes"]
    assert (verdict["status"], cause["status"]) == (21, 21)
    assert "notes" in cause["why"] and "logs" not in cause["why"]

    run("backup", "backup")
    (verdict,) = run("verdict", "status")
    assert (verdict["status"], verdict["causes"]) == (0, [])

    (point,) = run("backup", "backup", "--exclude", "*.md", status=25)
    (verdict,) = run("verdict", "status", status=25)
    assert {cause["status"] for cause in verdict["causes"]} == {25}
    assert point["snapshot_id"][:8] in verdict["causes"][0]["why"]
    acknowledged = run("acknowledged", "ack")
    assert [row["point"] for row in acknowledged] == [point["snapshot_id"]]
    assert [row["point"] for row in run("acknowledged", "ack")] == [None]


def test_a_store_that_has_the_repository_does_not_join_again(run: Any, place: Path) -> None:
    run("init", "init")
    assert [row["joined"] for row in run("joined", "init", "--store", "copy")] == [False]
    shutil.rmtree(place / "copy")
    (copy,) = [row for row in run("check", "check", status=3) if row["store"] == "copy"]
    assert copy["problems"] == ["it holds no repository"]
    assert [row["joined"] for row in run("joined", "init", "--store", "copy")] == [True]


def test_a_source_that_is_away_is_named_once_with_what_to_do(run: Any, place: Path) -> None:
    run("init", "init")
    run("backup", "backup")
    (place / "notes").rename(place / "moved")
    (told, _) = [row for row in run("note", "backup", status=3) if row["level"] == "error"]
    assert told["subject"] == "notes"
    assert not told["text"].startswith("notes: ")
    assert "sources.notes.path" in told["text"]


def test_without_any_run_the_latest_is_not_looked_for_by_that_name(run: Any) -> None:
    run("init", "init")
    (told,) = run("exit_error", "runs", "show", status=2)
    assert told["message"] == "no run was made on this machine so far"


def test_packs_that_no_index_names_are_not_for_prune_while_something_is_lost(
    run: Any, place: Path
) -> None:
    run("init", "init")
    run("backup", "backup")
    for index in place.glob("*/repository/index/*"):
        index.unlink()
    said = type_in(place, "check")
    assert said.exit_code == 22
    assert "if an index is gone: drkit repair index" in said.output
    assert "prune takes them" not in said.output
    (refused,) = run("exit_error", "prune", "--now", status=22)
    assert "drkit repair index" in refused["hint"]
    run("repaired_index", "repair", "index")
    assert all(row["sound"] for row in run("check", "check", "--read-data"))


def test_a_place_that_cannot_be_made_is_the_operators_mistake(run: Any, place: Path) -> None:
    run("init", "init")
    run("backup", "backup")
    for target in (place / "password" / "below", Path("/proc/nowhere")):
        (told,) = run("exit_error", "restore", "--target", str(target), status=2)
        assert str(target) in told["message"]
        assert told["hint"]
    file = str(place / "nowhere" / "notes.tar")
    (told,) = run("exit_error", "dump", "latest", "/notes", "--target", file, status=2)
    assert file in told["message"]


def test_what_is_nobodys_in_a_store_is_passed_over(run: Any, place: Path) -> None:
    run("init", "init")
    run("backup", "backup")
    for folder in ("snapshots", "index", "locks"):
        (place / "disk" / "repository" / folder / "odd").write_bytes(b"nothing of ours")
    assert len(run("snapshot", "snapshots")) == 1
    assert run("verdict", "status")
    run("backup", "backup")
    assert all(row["sound"] for row in run("check", "check"))
    run("forget", "forget", "--keep-last", "1")


def test_a_repaired_point_is_never_the_latest(run: Any, place: Path) -> None:
    run("init", "init")
    run("backup", "backup")
    for pack in place.glob("*/repository/data/*/*"):
        data = pack.read_bytes()
        pack.write_bytes(data[:30] + bytes([data[30] ^ 1]) + data[31:])
    shutil.rmtree(place / ".drkit")
    run("repaired_pack", "repair", "packs", status=22)
    (repaired,) = run("repaired_snapshot", "repair", "snapshots", status=22)
    out = str(place / "out")
    (refused,) = run("exit_error", "restore", "--target", out, status=22)
    assert "no point can be read" in refused["message"]
    assert not (place / "out").exists()
    run("restore", "restore", repaired["new_snapshot_id"], "--target", out)


def test_a_dry_run_says_what_it_would_do(run: Any) -> None:
    run("init", "init")
    cut = run("would_cut", "backup", "--dry-run", "--source", "notes")
    assert [(row["source"], row["stores"]) for row in cut] == [("notes", ["disk", "copy"])]
    run("exit_error", "backup", "--dry-run", "--source", "nots", status=2)

    (point,) = run("backup", "backup")
    (row,) = run("would_copy", "copy", "--from-store", "copy", "--dry-run")
    assert row["snapshot"] == point["snapshot_id"]


def test_where_nothing_serves_a_failback_says_so_and_asks_for_no_runbook(run: Any) -> None:
    (told,) = run("exit_error", "failback", status=2)
    assert told["message"] == "schedules.yaml describes no service"


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "no line of text"), (b"\xff\n", "no line of text"), (None, "No such")],
)
def test_a_password_file_that_says_none_is_told_in_words(
    run: Any, place: Path, content: bytes | None, why: str
) -> None:
    if content is not None:
        (place / "other").write_bytes(content)
    run("init", "init")
    named = ("--from-repo", str(place / "disk" / "repository"), "--from-password-file")
    (told,) = run("exit_error", "copy", *named, str(place / "other"), status=2)
    assert told["message"].startswith(f"{place / 'other'}: no password can be read: ")
    assert why in told["message"]


def test_a_new_password_that_is_no_text_is_told_in_words(run: Any, place: Path) -> None:
    (place / "other").write_bytes(b"\xff\n")
    run("init", "init")
    named = ("--new-password-file", str(place / "other"))
    (told,) = run("exit_error", "key", "add", *named, status=2)
    assert told["message"] == f"{place / 'other'} cannot be read: it is not UTF-8"
