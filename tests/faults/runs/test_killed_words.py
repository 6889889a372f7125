"""What an operator says is whole or was never said: kill -9 at each moment of it, on a real file.

Words open runs, approve decisions and steps, ask and withdraw. Whoever died in the middle says it
again, and it is as if it had been said once.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from killing import asked

LEAST_MOMENTS = 4  # BEGIN, a statement, COMMIT, the end

# What was said before, what is said, and how it is met when it was said already.
STORIES = {
    "a failover": ([], "open_failover", "RunOpen"),
    "a failover beside a drill": (["open_drill"], "open_failover", "RunOpen"),
    "a drill": ([], "open_drill", "RunOpen"),
    "a decision": ([], "decide", None),
    "an approval": (["decide"], "approve_decision", None),
    "an approved run": (["decide", "approve_decision"], "open_approved", "RunOpen"),
    "a question": (["open_failover"], "ask", None),
    "a question withdrawn": (["open_failover", "ask"], "withdraw", None),
    "an approved step": (["open_failover"], "approve_step", None),
}
SAID_TWICE = {"an approved step"}  # each approval is a line of its own


Speaker = Callable[..., "int | str"]


@pytest.fixture(scope="module")
def speaker() -> Iterator[Speaker]:
    with asked("killed_words.py") as ask:
        yield lambda word, state, moment=0: ask(
            {"word": word, "state": str(state), "moment": moment}
        )


def content(state: Path) -> list[str]:
    with closing(sqlite3.connect(state)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return list(connection.iterdump())


@pytest.mark.parametrize("story", STORIES)
def test_a_word_that_is_cut_off_by_a_kill_is_whole_or_was_never_said(
    speaker: Speaker, tmp_path: Path, story: str
) -> None:
    first, word, refusal = STORIES[story]
    state = tmp_path / "before.sqlite"
    for each in first:
        assert isinstance(speaker(each, state), int), each
    if not first:
        speaker("withdraw", state)  # refused: there is no run; the file is there now
    before = content(state)
    said, again = tmp_path / "said.sqlite", tmp_path / "again.sqlite"
    shutil.copyfile(state, said)
    moments = speaker(word, said)
    assert isinstance(moments, int), moments
    assert moments >= LEAST_MOMENTS
    once = content(said)
    assert once != before
    shutil.copyfile(said, again)
    met = speaker(word, again)
    assert met == refusal if refusal is not None else isinstance(met, int), met
    twice = content(again)
    assert (twice == once) is (story not in SAID_TWICE)

    found = []
    for moment in range(1, moments + 1):
        dead = tmp_path / f"{moment}.sqlite"
        shutil.copyfile(state, dead)
        assert speaker(word, dead, moment) == 0
        left = content(dead)
        assert left in (before, once), moment
        found.append(left == once)
        assert speaker(word, dead) == (met if found[-1] else moments)
        assert content(dead) == (twice if found[-1] else once), moment
    assert found == sorted(found)
    assert (found[0], found[-1]) == (False, True)
