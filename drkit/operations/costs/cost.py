"""What the deployment's stores cost a month, from its schedules: storage, requests, egress. Pure.

Upper bounds where something must be assumed: nothing is compressed, each pack is read in its
turn, and what an account has free once is not counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from drkit.config.cost import Load
from drkit.config.cron import CronLine, parse_cron
from drkit.config.models import Config, Job
from drkit.config.sources import WeightsSource
from drkit.config.stores import Keep, StoreArbiter
from drkit.operations.costs import requests
from drkit.operations.costs.prices import HOURS_A_MONTH, Price, price_of
from drkit.stores.counted import Counts

DAYS_A_MONTH = HOURS_A_MONTH / 24
GB = 1e9

# (decimal GB, percent that is new each hour), where the configuration says nothing.
_LOADS: Mapping[str, tuple[float, float]] = {
    "tree": (1.0, 0.04),
    "qdrant": (1.0, 1.0),
    "command": (0.1, 1.0),
    "weights": (8.0, 0.0),
}
_WEIGHT_FILES = 12
_REPACKED_SHARE = 0.05
_PRUNE_CYCLE_DAYS = 9  # a plan is marked, and walks through the stores, before there is another
_UNPRUNED_DAYS = 365.0


@dataclass(frozen=True, slots=True)
class Size:
    """A source: what it holds, and what of it is new each day, both in bytes."""

    name: str
    held: float
    new_a_day: float
    stores: tuple[str, ...] | None
    """The stores of a weights mirror; None: in the repository, on all of them."""


@dataclass(frozen=True, slots=True)
class StoreCost:
    """A month of one store, in steady state. `egress_usd` is after the free part."""

    store: str
    price: Price
    stored_bytes: float
    counts: Counts
    storage_usd: float
    requests_usd: float
    egress_usd: float

    @property
    def total_usd(self) -> float:
        return self.storage_usd + self.requests_usd + self.egress_usd


@dataclass(frozen=True, slots=True)
class CostReport:
    """Per store and in all. `notes`: what was assumed, in words."""

    stores: tuple[StoreCost, ...]
    notes: tuple[str, ...]

    @property
    def total_usd(self) -> float:
        return sum(store.total_usd for store in self.stores)


def monthly_cost(config: Config) -> CostReport:
    """What `config` costs a month once its oldest points begin to expire."""
    prices = {
        name: price_of(store.kind, config.cost.prices.get(name))
        for name, store in config.stores.items()
    }
    sizes = _sizes(config)
    stored = {name: _stored_bytes(config, name, sizes, prices[name]) for name in config.stores}
    counts = _requests(config, sizes, prices)
    bills = tuple(_bill(name, prices[name], stored[name], counts[name]) for name in config.stores)
    return CostReport(bills, tuple(_notes(config, sizes, bills)))


def runs_a_month(job: Job) -> float:
    """How often the job runs in an average month."""
    if job.every is not None:
        return HOURS_A_MONTH * 3600 / job.every
    assert job.cron is not None
    line = parse_cron(job.cron)
    days = sum(_fits(line, date(2027, 1, 1) + timedelta(days=number)) for number in range(365))
    return len(line.minutes) * len(line.hours) * days / 12


def _fits(line: CronLine, day: date) -> bool:
    by_day, by_weekday = day.day in line.days, day.isoweekday() % 7 in line.weekdays
    fits = by_day or by_weekday if line.either_day else by_day and by_weekday
    return fits and day.month in line.months


def _sizes(config: Config) -> tuple[Size, ...]:
    found = []
    for name, source in config.sources.items():
        load = config.cost.loads.get(name, Load())
        gb, churn = _LOADS[source.kind]
        held = GB * (gb if load.gb is None else load.gb)
        percent = load.churn_percent_per_hour
        new_a_day = held * 24 * (churn if percent is None else percent) / 100
        stores = source.stores if isinstance(source, WeightsSource) else None
        found.append(Size(name, held, new_a_day, stores))
    return tuple(found)


def _jobs(config: Config, run: str) -> list[tuple[Job, float]]:
    return [(job, runs_a_month(job)) for job in config.schedules.values() if job.run == run]


def _runs(config: Config, run: str) -> float:
    return sum(runs for _, runs in _jobs(config, run))


def _snapshots(config: Config, keep: Keep) -> float:
    """How many a store holds: one for each backup while all are kept, and one for each rule."""
    a_day = _runs(config, "backup") / DAYS_A_MONTH
    if not _runs(config, "prune"):
        return a_day * _UNPRUNED_DAYS
    rules = (keep.last, keep.hourly, keep.daily, keep.weekly, keep.monthly, keep.yearly)
    return a_day * (keep.within or 0) / 86400 + sum(rule or 0 for rule in rules)


def _history_bytes(config: Config, keep: Keep, size: Size) -> float:
    """What the points of the past hold beyond the present, until a prune took it away."""
    a_day = _runs(config, "backup") / DAYS_A_MONTH
    prunes = _runs(config, "prune")
    if not prunes:
        return size.new_a_day * _UNPRUNED_DAYS
    dense_days = max(
        (keep.within or 0) / 86400,
        (keep.last or 0) / a_day if a_day else 0.0,
        (keep.hourly or 0) / 24,
    )
    waiting_days = max(DAYS_A_MONTH / prunes, _PRUNE_CYCLE_DAYS) / 2
    found = size.new_a_day * (dense_days + waiting_days)
    for rule, gap_days in (
        (keep.daily, 1.0),
        (keep.weekly, 7.0),
        (keep.monthly, DAYS_A_MONTH),
        (keep.yearly, 365.0),
    ):
        older = max(0.0, (rule or 0) - dense_days / gap_days)
        found += older * min(size.new_a_day * gap_days, size.held)
    return found


def _stored_bytes(config: Config, store: str, sizes: Sequence[Size], price: Price) -> float:
    total = _repository_bytes(config, store, sizes)
    for size in sizes:
        if size.stores is None:
            total += size.new_a_day * price.soft_delete_days
        elif store in size.stores:
            total += size.held
    return total


def _repository_bytes(config: Config, store: str, sizes: Sequence[Size]) -> float:
    """What packs and snapshots hold, of now and of the past."""
    keep = config.stores[store].keep
    total = _snapshots(config, keep) * requests.OVERHEAD_BYTES
    for size in sizes:
        if size.stores is None:
            total += size.held + _history_bytes(config, keep, size)
    return total


def _requests(
    config: Config, sizes: Sequence[Size], prices: Mapping[str, Price]
) -> dict[str, Counts]:
    """All that a month asks of each store."""
    counts = dict.fromkeys(config.stores, Counts())
    backups, checks = _jobs(config, "backup"), _runs(config, "check")
    for store, configured in config.stores.items():
        snapshots = _snapshots(config, configured.keep)
        held = _repository_bytes(config, store, sizes)
        for job, runs in backups:
            new_bytes = _new_bytes(config, job, sizes)
            once = requests.backup_requests(new_bytes, snapshots, held)
            counts[store] += once.times(runs)
            for size in sizes:
                if store in (size.stores or ()) and size.name in (job.sources or (size.name,)):
                    counts[store] += requests.mirror_requests(_WEIGHT_FILES, 0).times(runs)
        counts[store] += requests.check_requests(snapshots, held).times(checks)
        repacked = held * _REPACKED_SHARE
        prunes = _runs(config, "prune")
        counts[store] += requests.prune_requests(snapshots, held, 0).times(prunes)
        written_anew = requests.prune_requests(0, 0, repacked)
        counts[store] += written_anew.times(min(prunes, DAYS_A_MONTH / _PRUNE_CYCLE_DAYS))
    cheapest = sorted(config.stores, key=lambda name: prices[name].egress_usd_per_gb)
    for store, days in config.check.days(cheapest).items() if checks else ():
        whole = requests.read_requests(_repository_bytes(config, store, sizes))
        counts[store] += whole.times(DAYS_A_MONTH / days)
    for size in sizes if checks else ():
        mirrors = [store for store in cheapest if store in (size.stores or ())]
        days_of = config.check.days(mirrors)
        for store in mirrors:
            counts[store] += requests.mirror_check_requests(_WEIGHT_FILES).times(checks)
            if store in days_of:
                whole = requests.mirror_read_requests(_WEIGHT_FILES, size.held)
                counts[store] += whole.times(DAYS_A_MONTH / days_of[store])
    for size in sizes:
        holders = size.stores or tuple(config.stores)
        least = requests.LEAST_RANGE_BYTES if size.stores else requests.LEAST_READ_BYTES
        read = requests.read_requests(size.held, least_bytes=least)
        counts[holders[0]] += read.times(_runs(config, "run-drill"))
    if isinstance(config.arbiter, StoreArbiter):
        counts[config.arbiter.store] += _arbiter_requests(config)
    return counts


def _arbiter_requests(config: Config) -> Counts:
    """A probe reads who serves, who leads, and the hold's note; a backup who serves."""
    asked = _runs(config, "probe") + _runs(config, "backup")
    small = Counts(gets=2, read_bytes=1024).times(_runs(config, "probe"))
    found = Counts(gets=1, read_bytes=4096).times(asked) + small
    if config.service is None:
        return found
    # a daemon renews its lease at a third of it
    renewals = DAYS_A_MONTH * 86400 / (config.decide.lease / 3)
    return found + Counts(puts=1, gets=1, read_bytes=512).times(renewals)


def _new_bytes(config: Config, job: Job, sizes: Sequence[Size]) -> float:
    """What one run of the job finds new: a source's share, over all jobs that cut it."""
    total = 0.0
    for size in sizes:
        if size.stores is None and size.name in (job.sources or (size.name,)):
            cut = sum(
                runs
                for other, runs in _jobs(config, "backup")
                if size.name in (other.sources or (size.name,))
            )
            total += size.new_a_day * DAYS_A_MONTH / cut
    return total


def _bill(store: str, price: Price, stored_bytes: float, counts: Counts) -> StoreCost:
    free = price.free_egress_times_stored * stored_bytes
    return StoreCost(
        store=store,
        price=price,
        stored_bytes=stored_bytes,
        counts=counts,
        storage_usd=stored_bytes / GB * price.storage_usd_per_gb_month,
        requests_usd=(counts.puts + counts.lists) / 1000 * price.put_usd_per_1000
        + (counts.gets + counts.stats) / 1000 * price.get_usd_per_1000,
        egress_usd=max(0.0, counts.read_bytes - free) / GB * price.egress_usd_per_gb,
    )


def _notes(config: Config, sizes: Sequence[Size], bills: Sequence[StoreCost]) -> list[str]:
    notes = [
        f"{size.name}: {size.held / GB:g} GB"
        + (f", {100 * size.new_a_day / size.held / 24:.2g} % new an hour" if size.new_a_day else "")
        for size in sizes
    ]
    notes += [
        f"{bill.store}: {bill.price.place}"
        + (f", prices read {bill.price.read}" if bill.price.read else "")
        + f" ({bill.price.source})"
        for bill in bills
    ]
    if not _runs(config, "prune"):
        notes.append("no prune is scheduled: nothing is deleted; reckoned after a year")
    if not _runs(config, "check"):
        notes.append("no check is scheduled: nothing is read back")
    else:
        cheapest = sorted(bills, key=lambda bill: bill.price.egress_usd_per_gb)
        turns = config.check.days([bill.store for bill in cheapest])
        read = ", ".join(f"{store} once in {days} days" for store, days in turns.items())
        notes.append(f"checks read packs by turns: {read}")
        for size in sizes:
            turns = config.check.days([b.store for b in cheapest if b.store in (size.stores or ())])
            read = ", ".join(f"{store} once in {days} days" for store, days in turns.items())
            if turns:
                notes.append(f"and {size.name}: {read}")
    if _runs(config, "run-drill"):
        notes.append("a drill reads all content once, from the first store")
    notes.append(
        "not counted: GPUs, the traffic of your own machines, taxes, an account's free use"
    )
    return notes
