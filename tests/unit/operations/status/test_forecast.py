"""If the primary died now: computed from what is configured and measured, and no promise else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from drkit.config.places import Candidate, LocalProvider, Probe, Target
from drkit.operations.status.forecast import Forecast, Measured, detection, forecast, forecast_words
from drkit.operations.status.status import SourceStatus

NOW = datetime(2026, 1, 4, tzinfo=UTC)
TARGET = Target(
    provider=LocalProvider(kind="local", path="/x", host="127.0.0.1", argv=("x",)),
    candidates=(
        Candidate(gpu="A40", max_usd_per_hour=1.5),
        Candidate(gpu="H100", max_usd_per_hour=5),
    ),
)
DRILL = Measured("drill-1", "drill", 18 * 60.0, 2.21, NOW)
SOURCES = (
    SourceStatus("sncp", "gcs", 420, 3600),
    SourceStatus("sncp", "s3", 9000, 3600),
    SourceStatus("history", "gcs", 60, 3600),
    SourceStatus("weights", "gcs", 10**6, None),
)
KNOWN: dict[str, Any] = {
    "site": "lambda",
    "probe": Probe(),
    "probe_every_s": 30.0,
    "why_not_held": "",
    "target": "coreweave",
    "place": TARGET,
    "budget_s": 1680.0,
    "measured": DRILL,
    "asks": True,
    "sources": SOURCES,
    "lives_on": {"sncp": "lambda", "history": "lambda", "weights": "lambda"},
    "proved_s": 3 * 86400.0,
}


def said(**other: Any) -> Forecast:
    return forecast(**{**KNOWN, **other})


def test_it_says_when_users_are_served_by_what_at_what_price_and_what_is_lost() -> None:
    assert forecast_words(said()) == (
        "if lambda died now: users on the external API in ~1 min 5 s; own GPU on coreweave in "
        "~19 min at $2.21/h, once a person has approved (measured by the drill of 2026-01-04); "
        "at most 7 min of memory (sncp) lost; last proven 3 d ago"
    )


def test_once_it_is_down_nothing_is_said_of_what_is_over() -> None:
    assert forecast_words(said(why_not_held="protect is off"), down=True) == (
        "with lambda DOWN: own GPU on coreweave in ~18 min at $2.21/h, once a person has approved "
        "(measured by the drill of 2026-01-04); at most 7 min of memory (sncp) lost; "
        "last proven 3 d ago"
    )


def test_detection_is_what_the_probe_is_set_to_and_at_most_what_the_bar_says() -> None:
    usual = detection(Probe(), 30)
    assert usual is not None
    assert (usual.usual_s, usual.most_s) == (60, 95)
    quick = detection(Probe(down_after=2, down_after_s="5s", suspect_every="1s"), 10)
    assert quick is not None
    assert quick.usual_s == 10
    assert quick.most_s == 10 + 15 + 16
    assert detection(Probe(), None) is None


def test_without_a_drill_budgets_stand_in_and_the_highest_price_and_it_says_so() -> None:
    words = forecast_words(said(measured=None, asks=False))
    assert "own GPU on coreweave in ~29 min at $5.00/h (by the runbook's budgets" in words
    assert "approved" not in words
    assert said(measured=replace(DRILL, usd_per_hour=None)).usd_per_hour == 5


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"why_not_held": "protect is off"}, "users are NOT held by themselves (protect is off)"),
        ({"probe_every_s": None}, "users are NOT held by themselves (nothing probes"),
        ({"probe_every_s": None}, "no own GPU (nothing probes)"),
        ({"target": None, "place": None, "budget_s": None, "measured": None}, "no own GPU"),
        ({"proved_s": None}, "last proven never"),
        ({"sources": ()}, "no source has a limit of loss"),
        ({"sources": (SourceStatus("sncp", "gcs", None, 60),)}, "ALL of sncp lost"),
        ({"lives_on": {}}, "no memory lost, for it lives elsewhere (at most 7 min of memory"),
    ],
)
def test_what_cannot_be_promised_is_said(changed: dict[str, Any], words: str) -> None:
    assert words in forecast_words(said(**changed))


def test_of_several_stores_the_best_one_counts_and_of_several_sources_the_worst() -> None:
    lost = said().lost
    assert lost is not None
    assert (lost.source, lost.lost_s) == ("sncp", 420)
