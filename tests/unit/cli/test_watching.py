"""Pause and approve, and what a round shows to people: as the real command line takes them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from two_folders import use_cheap_keys
from typer.testing import CliRunner, Result

from drkit.cli.main import app
from drkit.cli.session import Session
from drkit.cli.terminal.output import open_terminal
from drkit.cli.watch import around

GPU = {"kind": "local", "path": "gpu", "host": "127.0.0.1", "argv": ["serve"]}
NOTES = {"kind": "tree", "path": "notes"}
DEPLOYMENT = {
    "drkit": 1,
    "stores": {"one": {"kind": "folder", "role": "primary", "path": "one"}},
    "repository": {"password": "file:password"},
    "sources": {"notes": NOTES},
    "sites": {"gpu": {"provider": GPU, "endpoint": "http://127.0.0.1:8000"}},
    "service": {"name": "assistant", "model": "m", "primary": "gpu"},
    "targets": {"spare": {"provider": GPU, "candidates": [{"gpu": "L40", "max_usd_per_hour": 1}]}},
}


@pytest.fixture
def drkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    (tmp_path / "password").write_text("correct horse\n")
    (tmp_path / "schedules.yaml").write_text(json.dumps(DEPLOYMENT))
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, words)


def test_a_pause_begins_with_a_reason_and_ends_without_one(drkit: Callable[..., Result]) -> None:
    assert drkit("pause").exit_code == 2

    assert drkit("pause", "--why", "network work").exit_code == 0
    over = drkit("pause", "--for", "0s")

    assert over.exit_code == 0
    assert "not paused any more" in over.output
    assert "was not paused" in drkit("pause", "--for", "0s").output


def test_programs_are_told_of_a_pause_that_would_be(drkit: Callable[..., Result]) -> None:
    told = json.loads(drkit("pause", "--why", "network work", "--dry-run", "--json").stdout)

    assert (told["message_type"], told["service"]) == ("would_pause", "assistant")
    assert told["until"] is not None
    assert "was not paused" in drkit("pause", "--for", "0s").output


def test_a_length_that_is_none_is_the_operators_mistake(drkit: Callable[..., Result]) -> None:
    refused = drkit("pause", "--why", "network work", "--for", "2")

    assert refused.exit_code == 2
    assert "--for: '2' is no duration" in refused.output


@pytest.mark.parametrize("length", ["9h", "36500d", "99999999999d"])
def test_a_pause_that_is_too_long_is_refused_by_a_dry_run_too(
    drkit: Callable[..., Result], length: str
) -> None:
    for more in ((), ("--dry-run",)):
        refused = drkit("pause", "--why", "network work", "--for", length, *more)
        assert refused.exit_code == 2
        assert "at most 8 hours" in refused.output or "hundred years" in refused.output


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
def test_an_approval_of_nothing_shows_no_plan(
    drkit: Callable[..., Result], words: tuple[str, ...]
) -> None:
    refused = drkit("approve", *words)

    assert refused.exit_code == 25
    assert "waits for an approval" in refused.output
    assert "cutover" not in refused.output


@pytest.mark.parametrize(("verbosity", "told_why"), [(0, False), (1, True)])
def test_what_was_not_measured_takes_one_line(
    capsys: pytest.CaptureFixture[str], verbosity: int, told_why: bool
) -> None:
    terminal = open_terminal(json_lines=False, verbosity=verbosity)
    session = Session(Path(), False, False, verbosity, False, terminal, Path())
    rows = [
        {"metric": "running", "shown": "0", "samples": 1, "detail": ""},
        {"metric": "gpu", "shown": None, "samples": 0, "detail": "no exporter"},
    ]

    around._show_measures(session, rows)

    out = capsys.readouterr().out
    assert "running" in out and "gpu" in out
    assert ("no exporter" in out) == told_why


def test_status_is_red_when_a_drill_is_overdue(
    drkit: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_cheap_keys(monkeypatch)
    (tmp_path / "notes").mkdir()
    assert drkit("init").exit_code == 0

    fresh = drkit("status", "--json")
    lines = {line["message_type"]: line for line in map(json.loads, fresh.stdout.splitlines())}
    assert (fresh.exit_code, lines["verdict"]["causes"]) == (0, [])
    assert (lines["drill_status"]["last_passed_at"], lines["drill_status"]["overdue_s"]) == (
        None,
        0,
    )

    with closing(sqlite3.connect(tmp_path / ".drkit" / "state.sqlite")) as state, state:
        state.execute("UPDATE schema_migrations SET applied_at = '2020-01-01 00:00:00+00:00'")
    config = {**DEPLOYMENT, "sources": {"notes": {**NOTES, "rpo_min": 60}}}
    (tmp_path / "schedules.yaml").write_text(json.dumps(config))
    red = drkit("status", "--json")
    lines = {line["message_type"]: line for line in map(json.loads, red.stdout.splitlines())}
    assert (red.exit_code, lines["verdict"]["status"]) == (23, 23)
    assert [cause["status"] for cause in lines["verdict"]["causes"]] == [23, 21]
    assert lines["drill_status"]["overdue_s"] > 0
    told = drkit("status")
    assert told.exit_code == 23
    assert "no drill has passed yet; the next is OVERDUE by" in told.output
    assert (
        "DRILL OVERDUE: none has passed, one every 90 d is wanted; drkit run-drill" in told.output
    )
