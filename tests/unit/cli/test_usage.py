"""Words that are no command of drkit: what was wrong, where, and where to look."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from drkit.cli.main import app

MISTAKES = {
    ("bakcup",): ("drkit", "did you mean 'backup'"),
    ("--bogus",): ("drkit", "--bogus"),
    ("runs", "shwo"): ("drkit runs", "did you mean 'show'"),
    ("restore", "--traget", "x"): ("drkit restore", "--target"),
    ("restore",): ("drkit restore", "--target"),
    ("find",): ("drkit find", "pattern"),
    ("status", "extra"): ("drkit status", "extra"),
    ("snapshots", "--latest", "none"): ("drkit snapshots", "--latest"),
    ("dump", "latest", "/", "--archive", "rar"): ("drkit dump", "'--archive' / '-a': 'rar' is not"),
    ("prune", "--max-unused", "200"): ("drkit prune", "--max-unused"),
}


@pytest.mark.parametrize("words", MISTAKES)
def test_with_json_a_line_that_cannot_be_read_is_told_as_any_other_error(
    words: tuple[str, ...],
) -> None:
    where, what = MISTAKES[words]
    done = CliRunner().invoke(app, [*words, "--json"])

    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    told = json.loads(line)
    assert told.keys() == {"message_type", "code", "message", "hint"}
    assert (told["message_type"], told["code"]) == ("exit_error", 2)
    assert told["message"].startswith(f"{where}: ") and what in told["message"].lower()
    assert told["hint"] == f"`{where} --help` says what is accepted"


@pytest.mark.parametrize("words", MISTAKES)
def test_people_are_told_the_same_in_two_lines(words: tuple[str, ...]) -> None:
    where, what = MISTAKES[words]
    done = CliRunner().invoke(app, words)

    assert (done.exit_code, done.stdout) == (2, "")
    error, hint = done.stderr.splitlines()
    assert error.startswith(f"error: {where}: ") and what in error.lower()
    assert hint == f"hint: `{where} --help` says what is accepted"


def test_an_option_without_its_value_is_missed_where_it_stands() -> None:
    done = CliRunner().invoke(app, ["backup", "--json", "--exclude"])
    told = json.loads(done.stderr)
    assert (done.exit_code, told["code"]) == (2, 2)
    assert told["message"].startswith("drkit backup: ") and "--exclude" in told["message"]


def test_json_may_stand_anywhere_and_is_told_where_it_belongs() -> None:
    for words, group in ((["--json", "status"], "drkit"), (["runs", "--json"], "drkit runs")):
        done = CliRunner().invoke(app, words)
        told = json.loads(done.stderr)
        assert (done.exit_code, done.stdout, told["code"]) == (2, "", 2)
        assert told["hint"] == f"options stand behind the command: {group} COMMAND --json"


def test_what_stands_behind_two_dashes_asks_for_nothing() -> None:
    done = CliRunner().invoke(app, ["status", "--", "--json"])
    assert (done.exit_code, done.stderr.splitlines()[0][:21]) == (2, "error: drkit status: ")


def test_a_group_without_a_word_shows_what_it_has() -> None:
    for words in ([], ["runs"], ["repair"], ["key"]):
        done = CliRunner().invoke(app, words)
        assert "Usage: " in done.stdout and "COMMAND" in done.stdout
        assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("forget", "--keep-daily", "x"), "--keep-daily"),
        (("forget", "--keep-within", "3x"), "--keep-within"),
        (("forget", "--keep-within-daily", "3x"), "--keep-within-daily"),
        (("find", "x", "--newest", "yesterday"), "--newest"),
        (("find", "x", "--oldest", "0001-01-01"), "--oldest"),
    ],
)
def test_a_value_that_is_none_is_told_with_its_option(words: tuple[str, ...], option: str) -> None:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: {option}: '")
