"""The monthly cost: what the shipped deployment costs, and what each part of it depends on."""

from pathlib import Path
from typing import Any

import pytest

from drkit.config.load import load_config
from drkit.config.models import Config, Job
from drkit.operations.costs.cost import CostReport, StoreCost, monthly_cost, runs_a_month
from drkit.operations.costs.prices import declared_prices, price_of

PROJECT = Path(__file__).parents[4]
SHIPPED = load_config(PROJECT / "schedules.yaml")


def changed(**parts: Any) -> Config:
    return Config.model_validate(SHIPPED.model_dump(mode="json") | parts)


def bills(report: CostReport) -> dict[str, StoreCost]:
    return {bill.store: bill for bill in report.stores}


def test_the_shipped_deployment_costs_at_most_fifty_dollars_a_month() -> None:
    """2 GB of trees, 1 GB of vectors of which 1 % is new each hour, 8 GB of weights on two clouds,
    every pack and every byte of the weights read back once in 30 days.
    """
    report = monthly_cost(SHIPPED)
    assert 5 < report.total_usd <= 50
    loads = {note.split(":")[0]: note for note in report.notes}
    assert loads["sncp"].startswith("sncp: 1 GB") and loads["history"].startswith("history: 1 GB")
    assert loads["qdrant"] == "qdrant: 1 GB, 1 % new an hour"
    assert loads["weights"] == "weights: 8 GB"
    assert report.total_usd == pytest.approx(sum(bill.total_usd for bill in report.stores))


def test_checks_read_by_turns_and_more_often_where_egress_is_cheapest() -> None:
    found = bills(monthly_cost(SHIPPED))
    turns = {"b2": 30, "gcs": 180, "s3": 180}
    assert SHIPPED.check.days(["b2", "gcs", "s3"]) == turns
    never = bills(monthly_cost(changed(check={"elsewhere_within": None})))
    # what is deleted and stays a week (GCS) is no part of it; nor are, in s3, the weights: of their
    # two places it is the cheaper one
    held = found["s3"].stored_bytes - 8e9
    a_month = 365 / 12
    for store, elsewhere in (("s3", held), ("gcs", held + 8e9)):
        read = found[store].counts.read_bytes - never[store].counts.read_bytes
        assert read == pytest.approx(elsewhere * a_month / 180, rel=0.05)
    rarely = bills(monthly_cost(changed(check={"read_all_within": "300d"})))
    fewer = found["b2"].counts.read_bytes - rarely["b2"].counts.read_bytes
    assert fewer == pytest.approx(found["b2"].stored_bytes * a_month * (1 / 30 - 1 / 300), rel=0.05)


def test_mirrored_weights_are_read_by_turns_too_where_of_theirs_it_is_cheapest() -> None:
    found = bills(monthly_cost(SHIPPED))
    without = bills(monthly_cost(changed(cost={"loads": {"weights": {"gb": 0}}})))
    a_month = 365 / 12
    for store, days in (("s3", 30), ("gcs", 180), ("b2", None)):
        read = found[store].counts.read_bytes - without[store].counts.read_bytes
        drills = 8e9 * 4 / 12 if store == "gcs" else 0
        assert read == pytest.approx((8e9 * a_month / days if days else 0) + drills, rel=0.02)
    notes = monthly_cost(SHIPPED).notes
    assert "and weights: s3 once in 30 days, gcs once in 180 days" in notes


def test_each_store_holds_what_is_there_and_what_its_rules_keep() -> None:
    found = bills(monthly_cost(SHIPPED))
    vectors_a_day = 24 * 0.01e9
    trees_a_day = 24 * 0.0004 * 2e9
    past = (vectors_a_day + trees_a_day) * (30 + 3.5)
    assert found["s3"].stored_bytes == pytest.approx(11e9 + past, rel=0.05)
    assert found["gcs"].stored_bytes > found["s3"].stored_bytes  # what is deleted stays 7 days
    assert found["b2"].stored_bytes > 3e9 + past + 10e9  # eleven older months of vectors
    assert found["b2"].stored_bytes < 3e9 + past + 11 * 3e9 + 1e9


def test_without_a_prune_everything_is_kept_and_it_is_said() -> None:
    schedules = SHIPPED.model_dump(mode="json")["schedules"]
    schedules.pop("prune")
    report = monthly_cost(changed(schedules=schedules))
    assert bills(report)["s3"].stored_bytes > 90e9
    assert any(note.startswith("no prune is scheduled") for note in report.notes)


def test_without_a_check_nothing_is_read_back_and_it_is_said() -> None:
    report = monthly_cost(changed(schedules={"point": {"run": "backup", "every": "30m"}}))
    assert bills(report)["b2"].counts.read_bytes < 1e9
    assert any(note.startswith("no check is scheduled") for note in report.notes)


def test_the_configuration_says_how_large_a_source_is_and_how_fast_it_changes() -> None:
    before = bills(monthly_cost(SHIPPED))
    loads = {"qdrant": {"gb": 10, "churn_percent_per_hour": 0}, "weights": {"gb": 0}}
    after = bills(monthly_cost(changed(cost={"loads": loads})))
    assert after["gcs"].stored_bytes - 12e9 < 2e9
    assert after["gcs"].stored_bytes != before["gcs"].stored_bytes


def test_the_configuration_replaces_a_price_and_leaves_the_others() -> None:
    cheaper = {"s3": {"egress_usd_per_gb": 0.0}}
    before, after = monthly_cost(SHIPPED), monthly_cost(changed(cost={"prices": cheaper}))
    assert bills(after)["s3"].egress_usd == 0
    assert bills(after)["s3"].storage_usd == bills(before)["s3"].storage_usd
    assert "schedules.yaml (egress_usd_per_gb)" in bills(after)["s3"].price.source
    # free egress draws the daily proof to it
    assert bills(after)["b2"].counts.read_bytes < bills(before)["b2"].counts.read_bytes


@pytest.mark.parametrize("part", ["loads", "prices"])
def test_a_name_that_is_none_is_refused(part: str) -> None:
    with pytest.raises(ValueError, match="nothing"):
        changed(cost={part: {"nothing": {}}})


def test_prices_are_declared_with_place_source_and_date_for_every_kind_of_store() -> None:
    prices = declared_prices()
    assert set(prices) == {"folder", "gcs", "s3", "b2"}
    for price in prices.values():
        assert price.place and price.source and price.read is not None


@pytest.mark.parametrize(
    ("kind", "storage", "egress"),
    [("gcs", 0.018626, 0.111759), ("s3", 0.023, 0.09), ("b2", 0.0070465, 0.01)],
)
def test_units_are_turned_into_decimal_gigabytes_and_months(
    kind: str, storage: float, egress: float
) -> None:
    price = price_of(kind, None)
    assert price.storage_usd_per_gb_month == pytest.approx(storage, rel=1e-3)
    assert price.egress_usd_per_gb == pytest.approx(egress, rel=1e-3)


def test_egress_is_free_up_to_a_multiple_of_what_is_stored() -> None:
    bill = bills(monthly_cost(SHIPPED))["b2"]
    paid = bill.counts.read_bytes - 3 * bill.stored_bytes
    assert bill.egress_usd == pytest.approx(max(0, paid) / 1e9 * 0.01)


@pytest.mark.parametrize(
    ("job", "runs"),
    [
        (Job(run="backup", every="15m"), 2920),
        (Job(run="check", cron="20 4 * * *"), 365 / 12),
        (Job(run="prune", cron="40 5 * * 0"), 52 / 12),
        (Job(run="run-drill", cron="0 9 1 1,4,7,10 *"), 4 / 12),
        (Job(run="check", cron="0,30 0-11 * * *"), 24 * 365 / 12),
        (Job(run="check", cron="0 0 13 * 5"), (12 + 53 - 1) / 12),
    ],
)
def test_how_often_a_job_runs(job: Job, runs: float) -> None:
    assert runs_a_month(job) == pytest.approx(runs, rel=0.02)
