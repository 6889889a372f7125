"""What was missed while the daemon was away runs at once; what was not waits for its time."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from drkit.config.cron import parse_cron
from drkit.service.daemon import _next_time
from drkit.service.jobs import PlannedJob
from drkit.service.overdue import First, Known, cuts_of, first_time

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR_S = 3600.0
SOURCES = {"notes": HOUR_S, "weights": None}


def ago(**parts: float) -> datetime:
    return NOW - timedelta(**parts)


def job(run: str, *, every_s: float | None = None, cron: str | None = None) -> PlannedJob:
    line = parse_cron(cron) if cron else None
    return PlannedJob("it", (run,), every_s, line, deadline_s=60)


def first(planned: PlannedJob, known: Known) -> First:
    return first_time(planned, known, SOURCES, NOW, _next_time)


def cut(**cuts: datetime | None) -> Known:
    return Known({"notes": NOW, "weights": NOW, **cuts})


NIGHTLY = job("backup", cron="0 3 * * *")
HALF_HOURLY = job("backup", every_s=1800)


@pytest.mark.parametrize("planned", [NIGHTLY, HALF_HOURLY])
def test_a_source_without_any_point_is_backed_up_at_once(planned: PlannedJob) -> None:
    found = first(planned, cut(notes=None))
    assert found.at == NOW
    assert "no point of notes yet" in found.why


@pytest.mark.parametrize("planned", [NIGHTLY, HALF_HOURLY])
def test_a_source_over_its_rpo_is_backed_up_at_once_and_named(planned: PlannedJob) -> None:
    found = first(planned, cut(notes=ago(hours=1, seconds=1)))
    assert found.at == NOW
    assert "notes was last kept" in found.why


def test_a_fresh_point_makes_an_interval_wait_for_what_is_left_of_it() -> None:
    assert first(HALF_HOURLY, cut(notes=ago(minutes=10))) == First(NOW + timedelta(minutes=20))
    assert first(HALF_HOURLY, cut(notes=ago(minutes=31))).at == NOW


def test_a_cut_in_the_future_delays_an_interval_by_no_more_than_itself() -> None:
    known = cut(notes=ago(days=-3), weights=ago(days=-3))
    assert first(HALF_HOURLY, known).at == NOW + timedelta(minutes=30)


def test_a_nightly_backup_is_caught_up_only_if_its_time_went_by() -> None:
    missed = cut(weights=ago(hours=10))  # at 02:00, an hour before it was due
    found = first(NIGHTLY, missed)
    assert (found.at, "03:00 UTC went by" in found.why) == (NOW, True)
    assert first(NIGHTLY, cut(weights=ago(hours=8))) == First(None)


def test_only_the_sources_of_the_job_count() -> None:
    of_weights = PlannedJob("it", ("backup",), 1800, None, 60, sources=("weights",))
    assert first(of_weights, cut(notes=None)).at == NOW + timedelta(minutes=30)


@pytest.mark.parametrize("planned", [NIGHTLY, HALF_HOURLY])
def test_when_the_stores_did_not_say_a_backup_runs_at_once(planned: PlannedJob) -> None:
    assert first(planned, Known()).at == NOW


def test_a_check_is_caught_up_by_when_it_last_ended() -> None:
    check = job("check", cron="20 4 * * *")
    assert first(check, Known(ended={"it": ago(days=2)})).at == NOW
    assert first(check, Known(ended={"it": ago(hours=1)})) == First(None)
    assert first(check, Known()) == First(None)


def test_a_missed_drill_is_told_and_not_run() -> None:
    drill = PlannedJob("it", ("run-drill", "--to", "x"), None, parse_cron("0 9 1 * *"), 60)
    found = first(drill, Known(ended={"it": ago(days=40)}))
    assert found.at is None
    assert "2026-05-01 09:00 UTC went by" in found.why
    assert found.why.endswith("drkit run-drill --to x")


def test_the_newest_cut_over_all_stores_is_read_from_status() -> None:
    lines = [
        "warning: b2: unreachable",
        json.dumps({"message_type": "status", "task": "scan", "done": 1}),
        json.dumps({"source": "notes", "store": "gcs", "lost_s": 500.0}),
        json.dumps({"source": "notes", "store": "s3", "lost_s": 60.0}),
        json.dumps({"source": "notes", "store": "b2", "lost_s": None}),
        json.dumps({"source": "weights", "store": "s3", "lost_s": None}),
        json.dumps({"source": "odd", "lost_s": "soon"}),
        "[1]",
    ]
    assert cuts_of(lines, NOW) == {"notes": ago(seconds=60), "weights": None}
    assert cuts_of(["error: no repository"], NOW) == {}
