"""Whole backups over lines that break, lie and stall: complete or loudly incomplete, never wrong.

Seeded. In CI each store gets a few seconds, in `make soak` minutes; what was met is printed.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import gcs_server
import pytest
import s3_servers
from fault_proxy import LOUD, Fault, FaultProxy, Weather

from drkit.clock import ManualClock
from drkit.errors import DrkitError
from drkit.io_policy import STORE_REQUEST, Deadline, Retry
from drkit.repository.check.check import check_repository
from drkit.stores.interface import Store
from drkit.stores.memory import MemoryStore
from drkit.stores.s3.opening import Pace

IN_CI_S = 4.0
SOAK_S = 600.0
LEAST_ROUNDS = 1
RETRY = Retry(tries=5, first_s=0.005, most_s=0.02)
# A hundred times quicker than in earnest: a line that hangs costs a quarter of a second.
IN_A_STORM = Pace(Deadline(connect_s=1, total_s=0.5, min_bytes_per_s=4 << 20), RETRY)
IN_THE_SUN = Pace(STORE_REQUEST, RETRY)

Opener = Callable[[str, str, Pace], Store]


def gcs_at(url: str, prefix: str, pace: Pace) -> Store:
    server = gcs_server.shared()
    return server.store(prefix=prefix, url=url, deadline=pace.deadline, retry=pace.retry)


def s3_at(url: str, prefix: str, pace: Pace) -> Store:
    bucket = s3_servers.shared_bucket(versioned=False)
    return s3_servers.s3_store(url, bucket, prefix=prefix, pace=pace)


def b2_at(url: str, prefix: str, pace: Pace) -> Store:
    bucket = s3_servers.shared_bucket(versioned=True)
    return s3_servers.b2_store(url, bucket, prefix=prefix, pace=pace)


PLACES: dict[str, tuple[Callable[[], str], Opener]] = {
    "b2": (s3_servers.b2_url, b2_at),
    "gcs": (lambda: gcs_server.shared().url, gcs_at),
    "s3": (s3_servers.moto_url, s3_at),
}


@pytest.fixture(params=sorted(PLACES))
def place(request: pytest.FixtureRequest) -> Iterator[tuple[FaultProxy, str, Opener]]:
    url_of, opener = PLACES[request.param]
    proxy = FaultProxy(url_of(), drip_s=0.01)
    yield proxy, url_of(), opener
    proxy.stop()


def change(root: Path, rng: random.Random) -> None:
    for number in range(3):
        (root / f"changed-{number}").write_bytes(rng.randbytes(rng.randint(1, 400_000)))


def is_whole(kit: ModuleType, store: Store, source: Path, into: Path) -> None:
    """The store alone brings the source back, and every byte in it is what it must be."""
    alone = kit.Kit([store])
    assert check_repository(alone.open(), read_data=True, emit=alone.emit).sound
    alone.restore(into)
    assert kit.listing(into) == kit.listing(source)


def one_round(
    kit: ModuleType, place: tuple[FaultProxy, str, Opener], folder: Path, seed: int
) -> Counter[str]:
    """A few backups in the weather of `seed`, then one in the sun. What came out, counted."""
    proxy, url, opener = place
    rng = random.Random(seed)
    prefix = folder.name
    source = kit.make_plain_tree(folder / "source", seed=seed)
    direct = opener(url, prefix, IN_THE_SUN)
    through = opener(proxy.url, prefix, IN_A_STORM)
    beside = MemoryStore("beside")
    kit.Kit([direct, beside]).init()
    faults = list(LOUD) if seed % 3 else list(Fault)
    weather = Weather(seed, share=rng.choice((0.05, 0.15, 0.4)), faults=faults, burst=3)
    seen: Counter[str] = Counter()
    clock = ManualClock()  # one for all, so that the last point is the last
    for turn in range(3):
        change(source, rng)
        proxy.plan = weather
        try:
            report = kit.Kit([through, beside], clock).backup(source)
        except DrkitError:
            seen["said that it failed"] += 1
            continue
        finally:
            proxy.plan = None
        by_store = {result.store: result for result in report.stores}
        assert by_store["beside"].complete
        mine = by_store.get(through.name)
        if mine is not None and mine.complete:
            seen["complete"] += 1
            is_whole(kit, direct, source, folder / f"whole-{turn}")
        else:
            assert mine is None or mine.reason
            seen["said that it is incomplete"] += 1
        proxy.plan = weather
        try:
            kit.Kit([through, beside]).restore(folder / f"read-{turn}")
        except DrkitError:
            seen["said that it cannot read"] += 1
        else:
            assert kit.listing(folder / f"read-{turn}") == kit.listing(source)
            seen["read"] += 1
        finally:
            proxy.plan = None
    change(source, rng)
    report = kit.Kit([direct, beside], clock).backup(source)
    assert [result.store for result in report.stores if not result.complete] == []
    is_whole(kit, direct, source, folder / "healed")
    for info in list(direct.list("")):
        direct.delete(info.name)  # the servers keep all in memory
    for store in (direct, through):
        store.close()
    return seen + Counter({f"met {fault.name}": count for fault, count in weather.met.items()})


def rounds(
    kit: ModuleType,
    place: tuple[FaultProxy, str, Opener],
    folder: Path,
    *,
    first: int,
    for_s: float,
) -> None:
    began_s, seed = time.monotonic(), first
    seen: Counter[str] = Counter()
    while seed < first + LEAST_ROUNDS or time.monotonic() - began_s < for_s:
        own = folder / f"round-{seed}-{place[2].__name__}"
        own.mkdir()
        seen += one_round(kit, place, own, seed)
        seed += 1
    print(f"{seed - first} rounds: " + ", ".join(f"{k} {v}" for k, v in sorted(seen.items())))
    assert seen["complete"] + seen["said that it is incomplete"] + seen["said that it failed"]


def test_a_backup_in_a_storm_is_complete_or_says_that_it_is_not(
    kit: ModuleType, place: tuple[FaultProxy, str, Opener], tmp_path: Path
) -> None:
    first = 1 + [opener for _, opener in PLACES.values()].index(place[2])  # weather of its own
    rounds(kit, place, tmp_path, first=first, for_s=IN_CI_S)


@pytest.mark.soak
@pytest.mark.timeout(int(SOAK_S * 2))
def test_a_backup_in_many_storms_is_complete_or_says_that_it_is_not(
    kit: ModuleType, place: tuple[FaultProxy, str, Opener], tmp_path: Path
) -> None:
    rounds(kit, place, tmp_path, first=1000, for_s=SOAK_S)


def test_a_store_that_hangs_from_the_start_is_incomplete_and_the_other_is_whole(
    kit: ModuleType, place: tuple[FaultProxy, str, Opener], tmp_path: Path
) -> None:
    proxy, url, opener = place
    prefix = tmp_path.name + opener.__name__
    source = kit.make_plain_tree(tmp_path / "source")
    direct, through, beside = (
        opener(url, prefix, IN_THE_SUN),
        opener(proxy.url, prefix, IN_A_STORM),
        MemoryStore("beside"),
    )
    kit.Kit([direct, beside]).init()
    repository = kit.Kit([through, beside]).open()
    proxy.hung = True
    report = kit.Kit([through, beside]).backup(source, repository=repository)
    assert {result.store for result in report.stores if result.complete} == {"beside"}
    proxy.hung = False
    is_whole(kit, beside, source, tmp_path / "whole")
    through.close()
    direct.close()
