"""A backup into three stores, one of them behind a line that hangs, resets or refuses midway."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import s3_servers
from fault_proxy import Fault, FaultProxy
from http_streams import Asked

from drkit.clock import SystemClock
from drkit.io_policy import Deadline, FanOutPolicy, Retry
from drkit.repository.check.check import check_repository
from drkit.repository.copies import upload
from drkit.repository.format.layout import DATA, INDEX, SNAPSHOTS
from drkit.repository.locks import locks
from drkit.stores.interface import Store
from drkit.stores.memory import MemoryStore
from drkit.stores.s3.opening import Pace

PATIENT = Pace(Deadline(connect_s=5, total_s=60), Retry(tries=2, first_s=0.01, most_s=0.02))
IMPATIENT = FanOutPolicy(silence_s=2, least_bytes_per_s=1 << 30)


@pytest.fixture
def line() -> Iterator[FaultProxy]:
    proxy = FaultProxy(s3_servers.moto_url())
    yield proxy
    proxy.stop()


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.RESET_IN_REQUEST, Fault.S503])
def test_S10_a_line_that_breaks_in_mid_run_costs_one_copy_and_the_next_run_brings_it_back(
    kit: ModuleType,
    line: FaultProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
) -> None:
    monkeypatch.setattr(upload, "FAN_OUT", IMPATIENT)
    monkeypatch.setattr(locks, "_RELEASE_PATIENCE_S", 0.2)
    bucket = s3_servers.make_bucket(s3_servers.moto_url())
    far = s3_servers.s3_store(line.url, bucket, pace=PATIENT)
    stores: list[Store] = [MemoryStore("gcs"), far, MemoryStore("b2")]
    three: Any = kit.Kit(stores, SystemClock()).init()
    broken = threading.Event()

    def from_the_second_pack_on(asked: Asked) -> Fault | None:
        if asked.method == "PUT" and "/data/" in asked.target and not broken.is_set():
            broken.set()
            return None
        return fault if broken.is_set() else None

    line.plan = from_the_second_pack_on
    source = kit.make_plain_tree(tmp_path / "source")
    report = three.backup(source, min_copies=2)
    assert broken.is_set()
    assert {r.store: r.complete for r in report.stores} == {"gcs": True, "s3": False, "b2": True}
    direct = s3_servers.s3_store(s3_servers.moto_url(), bucket)
    assert not list(direct.list(SNAPSHOTS)), "no snapshot where not all of it is"

    line.plan = None
    assert all(result.complete for result in three.backup(source, min_copies=3).stores)
    assert check_repository(three.open(), read_data=True, emit=three.emit).sound
    for folder in (DATA, INDEX, SNAPSHOTS):
        held = {info.name for info in direct.list(folder)}
        assert held == {info.name for info in stores[0].list(folder)}
