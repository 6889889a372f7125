"""What the monthly cost is reckoned from: how much each source holds and changes, and prices."""

from pydantic import Field

from drkit.config.fields import Name, Strict


class Load(Strict):
    """How large a source is and how fast it changes, after deduplication."""

    gb: float | None = Field(None, ge=0, description="Decimal gigabytes; default by kind.")
    churn_percent_per_hour: float | None = Field(
        None, ge=0, description="Share of it that is new each hour; default by kind."
    )


class Prices(Strict):
    """Prices that replace the declared ones; dollars, decimal gigabytes, a month of 730 hours."""

    storage_usd_per_gb_month: float | None = Field(None, ge=0)
    put_usd_per_1000: float | None = Field(None, ge=0, description="Also of lists.")
    get_usd_per_1000: float | None = Field(None, ge=0)
    egress_usd_per_gb: float | None = Field(None, ge=0)
    free_egress_times_stored: float | None = Field(
        None, ge=0, description="Egress of a month that is free, in units of what is stored."
    )


class Cost(Strict):
    """What `drkit cost` reckons with instead of its own figures."""

    loads: dict[Name, Load] = Field({}, description="By source.")
    prices: dict[Name, Prices] = Field({}, description="By store.")
