"""Regions of three providers, and the part of the world that each lies in."""

from __future__ import annotations

import pytest

from drkit.config.regions import Area, area_of


@pytest.mark.parametrize(
    ("region", "area"),
    [
        ("eu-central-1", "eu"),
        ("eu-central-003", "eu"),
        ("europe-west4", "eu"),
        ("EU", "eu"),
        ("EUR4", "eu"),
        ("eu-west-2", "uk"),
        ("europe-west2", "uk"),
        ("eu-central-2", "other"),
        ("europe-west6", "other"),
        ("us-east-1", "us"),
        ("us-west-004", "us"),
        ("us-central1", "us"),
        ("US", "us"),
        ("NAM4", "us"),
        ("ca-central-1", "canada"),
        ("northamerica-northeast1", "canada"),
        ("ap-southeast-2", "australia"),
        ("australia-southeast1", "australia"),
        ("ap-northeast-1", "asia"),
        ("asia-east1", "asia"),
        ("southamerica-east1", "other"),
        ("moon-1", "other"),
    ],
)
def test_a_region_lies_in_its_area(region: str, area: Area) -> None:
    assert area_of(region) == area
