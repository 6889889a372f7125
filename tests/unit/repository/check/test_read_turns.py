"""Everything is read once in N days, whatever happens to the record of it."""

from __future__ import annotations

import random
from datetime import date, timedelta

import pytest

from drkit.errors import ConfigError
from drkit.repository.check.read_turns import ReadLog, after_reading, due_turns, log_of
from drkit.repository.check.reading_choice import (
    ReadAll,
    ReadBytes,
    ReadNothing,
    ReadPart,
    ReadShare,
    ReadTurns,
    chosen,
    read_subset,
)

START = date(2026, 3, 1)
RNG = random.Random(1)
SIZES = {RNG.randbytes(32).hex(): RNG.randrange(1_000, 20_000) for _ in range(500)}


def test_a_check_every_day_reads_each_turn_once_in_n_days() -> None:
    log = log_of(None, 30, START)
    read = []
    for day in range(60):
        today = START + timedelta(day)
        due = due_turns(log, today)
        assert len(due) == 1
        read += [*due]
        log = after_reading(log, due, today)
        assert due_turns(log, today) == frozenset(), "nothing is read twice on a day"
    assert sorted(read[:30]) == sorted(read[30:]) == list(range(30))
    assert log.whole_since == START + timedelta(30)


def test_days_without_a_check_are_made_up_for() -> None:
    log = log_of(None, 30, START)
    log = after_reading(log, due_turns(log, START), START)
    due = due_turns(log, START + timedelta(5))
    assert len(due) == 5
    assert due_turns(log, START + timedelta(400)) == frozenset(range(30))


def test_a_deleted_log_loses_nothing_but_the_knowledge() -> None:
    read: list[int] = []
    for day in range(30):
        today = START + timedelta(day)
        read += due_turns(log_of(None, 30, today), today)
    assert sorted(read) == list(range(30)), "the name of a pack alone says when it is read"


def test_a_changed_number_of_days_begins_anew() -> None:
    old = ReadLog(30, START, {3: START})
    assert log_of(old, 30, START) is old
    assert log_of(old, 7, START) == ReadLog(7, START)


def test_the_turns_share_out_all_packs_and_leave_none() -> None:
    shares = [
        chosen(ReadTurns({"b2": frozenset({turn})}, {"b2": 10}), "b2", SIZES, RNG)
        for turn in range(10)
    ]
    assert sum(map(len, shares)) == len(SIZES)
    assert frozenset().union(*shares) == SIZES.keys()
    assert chosen(ReadTurns({"b2": frozenset({0})}, {"b2": 10}), "gcs", SIZES, RNG) == frozenset()


def test_a_subset_is_cut_as_restic_cuts_it() -> None:
    assert chosen(ReadNothing(), "s3", SIZES, RNG) == frozenset()
    assert chosen(ReadAll(), "s3", SIZES, RNG) == SIZES.keys()
    third = chosen(ReadPart(3, 5), "s3", SIZES, RNG)
    assert third == {pack for pack in SIZES if int(pack[:2], 16) % 5 == 2}
    assert len(chosen(ReadShare(2.5), "s3", SIZES, RNG)) == round(500 * 0.025)
    assert len(chosen(ReadShare(0.001), "s3", SIZES, RNG)) == 1, "never nothing"
    total = sum(SIZES[pack] for pack in chosen(ReadBytes(100_000), "s3", SIZES, RNG))
    assert 80_000 < total <= 100_000
    assert len(chosen(ReadBytes(1), "s3", SIZES, RNG)) == 1


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        ("1/7", ReadPart(1, 7)),
        ("2.5%", ReadShare(2.5)),
        ("100%", ReadShare(100)),
        ("500M", ReadBytes(500 << 20)),
        ("2GiB", ReadBytes(2 << 30)),
        ("7k", ReadBytes(7 << 10)),
    ],
)
def test_subsets_are_written_as_for_restic(text: str, reading: object) -> None:
    assert read_subset(text) == reading


@pytest.mark.parametrize("text", ["0/7", "8/7", "1/257", "0%", "101%", "0M", "many", "-1/2", ""])
def test_a_subset_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no part"):
        read_subset(text)
