"""forget, prune, copy, unlock and reconcile by the real command, on folders."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import real_command

PROJECT = Path(__file__).resolve().parents[2]
CONFIG = """
drkit: 1
stores:
  gcs: {kind: folder, role: primary, path: ./gcs, keep: {last: 2}}
  b2: {kind: folder, role: archive, path: ./b2, keep: {last: 3}}
repository: {password: env:TEST_PASSWORD}
sources:
  sncp: {kind: tree, path: ./source}
"""


class Here:
    """A deployment of two folders with four points."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self, points: int) -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "schedules.yaml").write_text(CONFIG)
        (self.folder / "source").mkdir()
        self.run("init")
        for _ in range(points):
            (self.folder / "source" / "note.bin").write_bytes(os.urandom(20_000))
            self.run("backup")

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        secrets = {"TEST_PASSWORD": "one", "RESTIC_FROM_PASSWORD": "one"}
        return real_command.asked(self.folder, *words, **secrets)

    def run(self, *words: str) -> str:
        done = self.ask(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def rows(self, *words: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run(*words, "--json").splitlines()]

    def restic(self, store: str, *words: str) -> str:
        """What the stock restic says of one store."""
        done = subprocess.run(
            ["restic", "-r", str(self.folder / store / "repository"), "--no-cache", *words],
            env={**os.environ, "RESTIC_PASSWORD": "one"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def snapshots(self, store: str) -> set[str]:
        return {p.name for p in (self.folder / store / "repository" / "snapshots").iterdir()}


@pytest.fixture(scope="module")
def four_points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("four") / "points"
    Here(folder).make(4)
    return folder


@pytest.fixture
def here(four_points: Path, tmp_path: Path) -> Here:
    return Here(shutil.copytree(four_points, tmp_path / "here"))


def test_each_store_keeps_by_its_own_rules_and_says_why(here: Here) -> None:
    rows = [row for row in here.rows("forget", "--dry-run") if row["message_type"] == "fate"]
    assert [sorted(row["keep"]) for row in rows] == [["b2", "gcs"], ["b2", "gcs"], ["b2"], []]
    assert rows[0]["keep"]["gcs"] == ["last snapshot"]
    assert [row["remove"] for row in rows] == [[], [], ["gcs"], ["b2", "gcs"]]
    assert len(here.snapshots("gcs")) == 4, "it was a dry run"
    assert "2 snapshots removed from gcs" in here.run("forget")
    assert (len(here.snapshots("gcs")), len(here.snapshots("b2"))) == (2, 3)
    here.run("backup")
    assert (len(here.snapshots("gcs")), len(here.snapshots("b2"))) == (3, 4), "nothing came back"


def test_rules_that_keep_nothing_are_refused(here: Here) -> None:
    refused = here.ask("forget", "--keep-tag", "nobody-has-this")
    assert refused.returncode == 24
    assert "would remove all 4 snapshots" in refused.stderr
    assert here.ask("forget", "--keep-last", "many").returncode == 2
    assert "3 snapshots removed from b2" in here.run("forget", "--keep-last", "1")


def test_prune_marks_deletes_in_the_first_store_and_says_when_it_goes_on(here: Here) -> None:
    here.run("forget", "--keep-last", "1")
    assert "next: gcs, not before" in here.run("prune", "--dry-run")
    assert "marked" in here.run("prune")
    assert "next gcs, not before" in here.run("status")
    done = here.rows("prune", "--now")[-1]
    assert done["deleted_bytes"]["gcs"] > 40_000
    assert done["next_store"] == "b2"
    assert here.rows("prune", "--now")[-1]["deleted_bytes"] == {}, "no hurry shortens the week"
    here.run("check", "--read-data")
    assert "no snapshot has expired" in here.run("prune", "--forget")


def test_a_store_that_is_away_stops_prune_until_it_is_evicted_and_reconciled(here: Here) -> None:
    here.run("forget", "--keep-last", "2")
    (here.folder / "b2").rename(here.folder / "unplugged")
    stopped = here.ask("prune")
    assert stopped.returncode == 24
    assert "--evict" in stopped.stderr
    assert "marked" in here.run("prune", "--evict", "b2")
    assert not (here.folder / "b2").exists(), "nothing was written where it should have been"
    (here.folder / "unplugged").rename(here.folder / "b2")
    assert "evicted" in here.ask("status").stdout
    assert "nothing was done" in here.run("repair", "reconcile", "b2")
    assert "done" in here.run("repair", "reconcile", "b2", "--apply")
    assert "level" in here.run("status")


def test_a_snapshot_is_copied_from_a_repository_of_restics_own(here: Here) -> None:
    Here(here.folder / "other").make(1)
    copied = here.rows("copy", "latest", "--from-repo", "other/gcs/repository")[-1]
    assert len(copied["copied"]) == 1
    assert set(copied["copied"].values()) <= here.snapshots("b2")
    again = here.rows("copy", "latest", "--from-config", "other/schedules.yaml")[-1]
    assert (again["copied"], len(again["already"])) == ({}, 1)


def test_unlock_says_what_it_removed(here: Here) -> None:
    assert here.rows("unlock")[-1]["removed"] == {"gcs": 0, "b2": 0}


def test_K6_erase_shows_its_plan_does_exactly_that_and_says_until_when(
    four_points: Path, tmp_path: Path
) -> None:
    here = Here(shutil.copytree(four_points, tmp_path / "points"))
    (here.folder / "source" / "users" / "42").mkdir(parents=True)
    (here.folder / "source" / "users" / "42" / "diary.md").write_text("secret words " * 50)
    here.run("backup")
    shutil.rmtree(here.folder / "source" / "users")
    here.run("backup")
    before = here.snapshots("gcs")
    assert "nothing was erased so far" in here.run("erase")
    (plan,) = here.rows("erase", "/sncp/users/42")
    assert (plan["paths"], plan["files"]) == (["/sncp/users/42"], 1)
    assert len(plan["rewritten"]) == 1
    assert {left["kind"] for left in plan["not_erased"]} == {"point.json", "here"}
    assert "not erased by this:" in here.run("erase", "/sncp/users/42")
    assert here.snapshots("gcs") == before, "a plan changes nothing"
    wrong = here.ask("erase", "/sncp/users/42", "--apply", "0123456789ab")
    assert (wrong.returncode, here.snapshots("gcs")) == (24, before)
    done = here.ask("erase", "/sncp/users/42", "--apply", plan["plan"])
    assert done.returncode == 3, done.stdout + done.stderr
    assert "gcs: removed" in done.stdout
    assert "b2: retained until" in done.stdout
    assert len(here.snapshots("gcs")) == len(before)
    assert here.snapshots("gcs") == here.snapshots("b2") != before
    assert "diary" not in here.run("find", "*diary*")
    said = [json.loads(line) for line in here.ask("erase", "--json").stdout.splitlines()]
    standing = {row["store"]: row["state"] for row in said if row["message_type"] == "erased"}
    assert standing == {"gcs": "removed", "b2": "retained"}
    for name in ("gcs", "b2"):
        if shutil.which("restic"):
            assert "no errors" in here.restic(name, "check", "--read-data")


def test_a_lock_is_waited_for_as_long_as_retry_lock_says(four_points: Path, tmp_path: Path) -> None:
    here = Here(shutil.copytree(four_points, tmp_path / "points"))
    holding = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(here.folder / "gcs")],
        env={**os.environ, "PYTHONPATH": str(PROJECT), "TEST_PASSWORD": "one"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holding.stdout is not None
    assert holding.stdout.readline() == "locked\n"
    refused = here.ask("prune")
    assert refused.returncode == 11, refused.stdout + refused.stderr
    assert "--retry-lock" in refused.stderr + refused.stdout
    holding.send_signal(signal.SIGHUP)  # as `restic unlock` asks whether the holder lives
    patient = ("prune", "--retry-lock", "60s")
    waiting = real_command.start(here.folder, *patient, TEST_PASSWORD="one")
    assert waiting.stdout is not None
    for line in waiting.stdout:
        if "trying again" in line:
            break
    assert holding.poll() is None, "it did not end by that"
    holding.kill()
    holding.wait()  # a lock of a process that is gone does not count
    said, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, said
    assert here.ask("prune", "--retry-lock", "soon").returncode == 2


_HOLD = """
import os, socket, sys, time
from pathlib import Path
from drkit.cli.options import _outlive_restic
from drkit.clock import SystemClock
from drkit.repository.locks.locks import take_locks
from drkit.repository.repository import open_repository
from drkit.stores.folder import FolderStore

_outlive_restic()
stores = [FolderStore("gcs", Path(sys.argv[1]))]
opened = open_repository(
    stores, os.environ["TEST_PASSWORD"], clock=SystemClock(), emit=lambda event: None,
    hostname=socket.gethostname(),
)
take_locks(opened, exclusive=False, need_all=True, emit=lambda event: None)
print("locked", flush=True)
time.sleep(100)
"""
