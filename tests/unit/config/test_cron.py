"""Cron lines mean what crontab(5) says."""

import pytest

from drkit.config.cron import parse_cron

EVERY = {"minutes": 60, "hours": 24, "days": 31, "months": 12, "weekdays": 7}


@pytest.mark.parametrize(
    ("line", "field", "numbers"),
    [
        ("*/20 * * * *", "minutes", (0, 20, 40)),
        ("5,7-9 * * * *", "minutes", (5, 7, 8, 9)),
        ("50/5 * * * *", "minutes", (50, 55)),
        ("0 8-18/4 * * *", "hours", (8, 12, 16)),
        ("0 9 1 JAN,apr,7,10 *", "months", (1, 4, 7, 10)),
        ("0 5 * * 0", "weekdays", (0,)),
        ("0 5 * * 7", "weekdays", (0,)),
        ("0 5 * * sun", "weekdays", (0,)),
        ("0 5 * * mon-fri", "weekdays", (1, 2, 3, 4, 5)),
        ("0 5 * * 5-7", "weekdays", (0, 5, 6)),
    ],
)
def test_a_field_stands_for_these_numbers(line: str, field: str, numbers: tuple[int, ...]) -> None:
    assert getattr(parse_cron(line), field) == numbers


def test_stars_stand_for_everything() -> None:
    line = parse_cron("* * * * *")

    assert {name: len(getattr(line, name)) for name in EVERY} == EVERY
    assert not line.either_day


@pytest.mark.parametrize(
    ("line", "either"),
    [("0 0 13 * 5", True), ("0 0 13 * *", False), ("0 0 * * 5", False), ("0 0 */2 * 5", False)],
)
def test_a_day_and_a_weekday_mean_either(line: str, either: bool) -> None:
    assert parse_cron(line).either_day is either


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("* * * *", "five fields"),
        ("60 * * * *", "'60' is no minute of a cron line: 0 to 59"),
        ("* 24 * * *", "'24' is no hour"),
        ("* * 0 * *", "'0' is no day"),
        ("* * * foo *", "'foo' is no month"),
        ("* * * * 8", "'8' is no weekday"),
        ("9-3 * * * *", "ends before it begins"),
        ("*/0 * * * *", "step is no number above 0"),
        (", * * * *", "'' is no minute"),
        ("² * * * *", "is no minute"),
    ],
)
def test_a_wrong_line_says_which_field(line: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_cron(line)
