"""The JSON is a promise: its keys, their order and their meaning are in docs/evidence.md."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest

from drkit.runs.evidence import Evidence, build_evidence, evidence_json

Told = Callable[[str], Evidence]
DOCUMENT = Path(__file__).parents[4] / "docs" / "evidence.md"
STORIES = ["good_drill", "failed_drill", "interrupted_drill", "rolled_back", "committed"]


def test_the_run_comes_first(told: Told) -> None:
    text = evidence_json(told("good_drill")).decode()
    assert text.startswith('{\n "run_id": "drill-20261121t140211-4f2a9c",\n "format": 1,')


@pytest.mark.parametrize("story", STORIES)
def test_all_runs_have_the_same_keys(told: Told, story: str) -> None:
    report, other = (json.loads(evidence_json(told(name))) for name in (story, "good_drill"))
    assert list(report) == list(other)
    for part in ("run", "rto", "rpo", "cost"):
        assert list(report[part]) == list(other[part])


def test_times_equal_those_of_the_journal_to_the_microsecond(stories: ModuleType) -> None:
    run, plan, entries = stories.committed()
    report = json.loads(evidence_json(build_evidence(run, plan, entries, now=entries[-1].at)))
    assert [(line["seq"], line["at"]) for line in report["journal"]] == [
        (entry.seq, entry.at.isoformat(timespec="microseconds")) for entry in entries
    ]
    assert report["run"]["created_at"] == "2026-11-21T14:02:11.318224+00:00"


def test_clocks_agree_with_the_journal(told: Told) -> None:
    report = json.loads(evidence_json(told("committed")))
    at = {(line["step"], line["kind"]): line["elapsed_s"] for line in report["journal"]}
    assert report["rto"]["t_exec_s"] == at["verify_public", "done"]
    assert report["rto"]["within"] is True
    assert report["rto"]["t_total_s"] == pytest.approx(report["rto"]["t_exec_s"] + 187)


def test_what_was_not_measured_is_null(told: Told) -> None:
    report = json.loads(evidence_json(told("interrupted_drill")))
    assert report["rto"]["t_total_s"] is None
    assert report["rto"]["within"] is None
    assert report["rto"]["recovered"] is False


def test_a_lone_surrogate_from_a_file_name_does_not_stop_the_report(stories: ModuleType) -> None:
    plan = stories.make_plan()
    bad = stories.proof("tree", "sncp", "wrong", passed=False, files=["notes/\udce9t\udce9.md"])
    story = stories.Story(plan).intent(1, "verify").failed(2, "verify", "wrong", proofs=[bad])
    run = story.record(stories.RunState.RUNNING)
    now = stories.START + timedelta(seconds=5)
    report = evidence_json(build_evidence(run, plan, story.entries, now=now))
    assert json.loads(report)["proofs"][0]["files"][0].startswith("notes/")


def test_every_key_is_described(told: Told) -> None:
    described = set(re.findall(r"`([a-z_]+)`", DOCUMENT.read_text()))
    report = json.loads(evidence_json(told("good_drill")))
    keys = set(report)
    for part in ("run", "rto", "rpo", "cost"):
        keys |= set(report[part])
    for part in ("phases", "steps", "proofs", "left_over", "journal", "not_exercised"):
        keys |= set(report[part][0])
    keys |= set(report["rpo"]["sources"][0]) | set(report["cost"]["resources"][0])
    keys |= set(report["steps"][0]["segments"][0])
    assert keys - described == set()
