"""Prices of stores: the declared ones of prices.toml, and the configuration's own instead."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from importlib.resources import files

from drkit.config.cost import Prices

HOURS_A_MONTH = 730.0

_GIB_IN_GB = 2**30 / 1e9

# The provider's unit -> how many of it are one GB for a month of 730 hours.
_STORAGE_UNITS: Mapping[str, float] = {
    "GB-month": 1.0,
    "GiB-hour": HOURS_A_MONTH / _GIB_IN_GB,
    "TB-30-days": HOURS_A_MONTH / 720 / 1000,
}
_EGRESS_UNITS: Mapping[str, float] = {"GB": 1.0, "GiB": 1 / _GIB_IN_GB}


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars, decimal GB, months of 730 hours. `read`: when `source` was; None: configured."""

    place: str
    storage_usd_per_gb_month: float
    put_usd_per_1000: float
    get_usd_per_1000: float
    egress_usd_per_gb: float
    free_egress_times_stored: float
    soft_delete_days: float
    source: str
    read: date | None


@cache
def declared_prices() -> Mapping[str, Price]:
    """By kind of store."""
    tables = tomllib.loads(files("drkit.operations.costs").joinpath("prices.toml").read_text())
    return {
        kind: Price(
            place=table["place"],
            storage_usd_per_gb_month=table["storage_usd"] * _STORAGE_UNITS[table["storage_per"]],
            put_usd_per_1000=table["put_usd_per_1000"],
            get_usd_per_1000=table["get_usd_per_1000"],
            egress_usd_per_gb=table["egress_usd"] * _EGRESS_UNITS[table["egress_per"]],
            free_egress_times_stored=table.get("free_egress_times_stored", 0.0),
            soft_delete_days=table.get("soft_delete_days", 0.0),
            source=table["source"],
            read=table["read"],
        )
        for kind, table in tables.items()
    }


def price_of(kind: str, own: Prices | None) -> Price:
    """The declared price of a store of `kind`, with what the configuration says instead."""
    declared = declared_prices()[kind]
    given = own.model_dump(exclude_none=True) if own else {}
    if not given:
        return declared
    named = ", ".join(given)
    return replace(declared, **given, source=f"schedules.yaml ({named}); {declared.source}")
