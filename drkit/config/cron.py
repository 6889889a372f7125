"""Cron lines: five fields with names, ranges, lists and steps, as crontab(5) reads them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

# (what it is called, lowest, highest, names from the lowest on)
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("weekday", 0, 7, WEEKDAYS),
)


@dataclass(frozen=True, slots=True)
class CronLine:
    """The numbers each field stands for; weekdays from 0, which is Sunday.

    `either_day`: day and weekday are both restricted, and one of them suffices, as in cron.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    either_day: bool


def parse_cron(text: str) -> CronLine:
    """The line `text`. ValueError says which field is wrong."""
    fields = text.lower().split()
    if len(fields) != 5:
        raise ValueError("a cron line has five fields: minute hour day month weekday")
    minutes, hours, days, months, weekdays = (
        _numbers(field, *kind) for field, kind in zip(fields, _FIELDS, strict=True)
    )
    return CronLine(
        minutes,
        hours,
        days,
        months,
        tuple(sorted({day % 7 for day in weekdays})),
        either_day=not (fields[2].startswith("*") or fields[4].startswith("*")),
    )


def _numbers(
    field: str, what: str, lowest: int, highest: int, names: tuple[str, ...]
) -> tuple[int, ...]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        if step and not (step.isdecimal() and int(step) > 0):
            raise ValueError(f"{part!r} is no {what} of a cron line: its step is no number above 0")
        if span == "*":
            first, last = lowest, highest
        else:
            begin, dash, end = span.partition("-")
            first = _number(begin, what, lowest, highest, names)
            last = _number(end, what, lowest, highest, names) if dash else first
            if step and not dash:
                last = highest
        if last < first:
            raise ValueError(f"{part!r} is no {what} of a cron line: it ends before it begins")
        found.update(range(first, last + 1, int(step or 1)))
    return tuple(sorted(found))


def _number(word: str, what: str, lowest: int, highest: int, names: tuple[str, ...]) -> int:
    if word in names:
        return lowest + names.index(word)
    if not word.isdecimal() or not lowest <= int(word) <= highest:
        raise ValueError(f"{word!r} is no {what} of a cron line: {lowest} to {highest}")
    return int(word)
