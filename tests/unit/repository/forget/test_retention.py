"""The keep-rules, each alone and together, with the reason for every snapshot that stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drkit.errors import ConfigError
from drkit.repository.forget.retention import (
    UNLIMITED,
    KeepRules,
    Span,
    judge,
    read_count,
    read_span,
)
from drkit.repository.format.snapshot import Snapshot, read_snapshot
from drkit.repository.repository import ListedSnapshot

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def listed(number: int, time: datetime, *tags: str) -> ListedSnapshot:
    snapshot = Snapshot(time, "00" * 32, ("/sncp",), "host", "", tags)
    return ListedSnapshot(f"{number:064x}", snapshot, frozenset({"gcs"}))


def every(step: timedelta, count: int) -> list[ListedSnapshot]:
    return [listed(number, NOW - step * (number + 1)) for number in range(count)]


def kept(snapshots: list[ListedSnapshot], rules: KeepRules) -> list[int]:
    return [
        int(verdict.listed.id, 16) for verdict in judge(snapshots, rules, NOW) if verdict.reasons
    ]


def test_last_keeps_the_newest_ones() -> None:
    assert kept(every(timedelta(hours=1), 9), KeepRules({"last": 3})) == [0, 1, 2]


def test_one_a_day_is_the_newest_of_that_day() -> None:
    snapshots = every(timedelta(hours=6), 12)  # 06:00, 00:00 | 18, 12, 6, 0 | ...
    assert kept(snapshots, KeepRules({"daily": 2})) == [0, 2]


def test_the_oldest_stays_while_a_count_is_not_used_up() -> None:
    snapshots = every(timedelta(hours=1), 3)
    verdicts = judge(snapshots, KeepRules({"monthly": 5}), NOW)
    assert [verdict.reasons for verdict in verdicts] == [
        ("monthly snapshot",),
        (),
        ("oldest monthly snapshot",),
    ]


def test_within_counts_from_the_newest_and_not_from_now() -> None:
    snapshots = [listed(n, NOW - timedelta(days=400 + n)) for n in range(5)]
    assert kept(snapshots, KeepRules(within={"": Span(days=2)})) == [0, 1]


def test_a_snapshot_from_the_future_does_not_push_the_others_out() -> None:
    snapshots = [*every(timedelta(days=1), 3), listed(99, NOW + timedelta(days=900))]
    assert kept(snapshots, KeepRules(within={"": Span(days=30)})) == [99, 0, 1, 2]


def test_pinned_stays_whatever_the_rules_say() -> None:
    snapshots = [*every(timedelta(hours=1), 3), listed(9, NOW - timedelta(days=999), "pinned")]
    verdicts = judge(snapshots, KeepRules({"last": 1}), NOW)
    assert [(int(v.listed.id, 16), v.reasons) for v in verdicts if v.reasons] == [
        (0, ("last snapshot",)),
        (9, ("pinned",)),
    ]


def test_a_tag_list_wants_all_its_tags() -> None:
    snapshots = [
        listed(0, NOW - timedelta(days=1), "a"),
        listed(1, NOW - timedelta(days=2), "a", "b"),
    ]
    assert kept(snapshots, KeepRules(tags=(("a", "b"),))) == [1]


def test_days_are_those_of_the_zone_the_snapshot_was_made_in() -> None:
    content = b'{"time":"2026-11-20T23:30:00.5-08:00","tree":"00","paths":[]}'
    snapshot = read_snapshot(content)
    assert snapshot.time == datetime(2026, 11, 21, 7, 30, 0, 500_000, tzinfo=UTC)
    assert snapshot.local_time.day == 20


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ("1m", datetime(2026, 3, 3, tzinfo=UTC)),  # 31 February runs on into March, as in Go
        ("1y", datetime(2025, 3, 31, tzinfo=UTC)),
        ("2d3h", datetime(2026, 3, 28, 21, tzinfo=UTC)),
    ],
)
def test_months_are_those_of_the_calendar(span: str, expected: datetime) -> None:
    assert read_span(span).before(datetime(2026, 3, 31, tzinfo=UTC)) == expected
    assert str(read_span(span)) == span


@pytest.mark.parametrize("text", ["", "5", "d", "5x", "5d 3h", "-5d"])
def test_what_is_no_duration_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ConfigError, match="no duration"):
        read_span(text)


def test_counts_are_numbers_or_unlimited() -> None:
    assert (read_count("7"), read_count("unlimited")) == (7, UNLIMITED)
    with pytest.raises(ConfigError):
        read_count("some")


@given(
    hours=st.lists(st.integers(0, 20_000), min_size=1, max_size=40, unique=True),
    counts=st.dictionaries(
        st.sampled_from(["last", "hourly", "daily", "weekly", "monthly", "yearly"]),
        st.integers(1, 6),
        min_size=1,
    ),
)
def test_more_generous_rules_never_keep_less(hours: list[int], counts: dict[str, int]) -> None:
    snapshots = [listed(n, NOW - timedelta(hours=h, seconds=1)) for n, h in enumerate(hours)]
    few = set(kept(snapshots, KeepRules(counts)))
    many = set(kept(snapshots, KeepRules({period: n + 1 for period, n in counts.items()})))
    newest = min(range(len(hours)), key=lambda n: hours[n])
    assert newest in few
    assert len(few) <= len(many)
    assert set(kept(snapshots, KeepRules(dict.fromkeys(counts, UNLIMITED)))) >= few
